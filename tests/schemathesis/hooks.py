"""What the generator does not know of a server that it shares with its own machine.

Streams have no end, a hundred thousand replicas are a hundred thousand processes, and some rules of documents (a name,
port or path once) cannot be told by a schema. Requests are changed just before they are sent, whatever made them.
"""

import re

import schemathesis

MOST_REPLICAS = 2
ONCE = ("ports", "volumes")


# Texts to Python's YAML 1.1, numbers to YAML 1.2, and not quoted by the one that writes.
NUMBERS = re.compile(r"0o[0-7]+|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]0[0-9]+")


def told_apart(value):
    """To a schema 3.0 is a whole number, the reader wants 3; and what looks like a number is no text."""
    if isinstance(value, str):
        zeros = re.fullmatch(r"0+([0-9]+)", value)
        return zeros.group(1) if zeros else f"x{value}" if NUMBERS.fullmatch(value) else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [told_apart(inner) for inner in value]
    if isinstance(value, dict):
        return {key: inner if key == "cpu" else told_apart(inner) for key, inner in value.items()}
    return value


def bounded(value):
    """Few replicas, and nothing twice."""
    if isinstance(value, list):
        for inner in value:
            bounded(inner)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if key == "replicas" and isinstance(inner, int) and not isinstance(inner, bool):
            value[key] = min(inner, MOST_REPLICAS)
        elif key in ONCE and isinstance(inner, list):
            value[key] = first_of_each(inner, target)
        elif key == "services" and isinstance(inner, list):
            value[key] = first_of_each(inner, lambda service: service.get("name") if isinstance(service, dict) else None)
        bounded(value[key])


def target(text):
    """The worker's port, or the place where a volume is mounted."""
    parts = text.split(":") if isinstance(text, str) else []
    return parts[-2 if len(parts) == 3 else -1] if parts else None


def first_of_each(items, key):
    seen, kept = set(), []
    for item in items:
        name = key(item)
        if isinstance(name, str):
            if name in seen:
                continue
            seen.add(name)
        kept.append(item)
    return kept


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.query, dict) and "follow" in case.query and str(case.query["follow"]).lower() == "true":
        case.query["follow"] = "false"
    if isinstance(case.body, (dict, list)):
        case.body = told_apart(case.body)
        bounded(case.body)


@schemathesis.hook
def filter_case(context, case):
    # The type that curl names when it is told none: its body is a YAML text, which no schema can describe.
    return case.media_type != "application/x-www-form-urlencoded"
