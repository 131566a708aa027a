"use strict";
// Shows /openapi.json of the same server, and sends the requests that it describes. Everything that comes from a
// server goes into the page as text, never as markup.

const METHODS = ["get", "post", "put", "patch", "delete"];
const SHOWN = 200_000;
let description = {};

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function resolve(value) {
  for (let hops = 0; value && value.$ref && hops < 20; hops += 1) {
    value = value.$ref.slice(2).split("/").reduce((at, key) => (at ? at[key] : undefined), description);
  }
  return value || {};
}

function shapeName(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf || schema.oneOf) return (schema.anyOf || schema.oneOf).map(shapeName).join(" or ");
  if (schema.type === "array") return `list of ${shapeName(schema.items) || "anything"}`;
  return [schema.type || ""].flat().join(" or ");
}

// A schema as an indented outline: enough to read, and never endless.
function outline(schema, depth = 0) {
  const name = shapeName(schema);
  const real = resolve(schema);
  const branches = real.anyOf || real.oneOf;
  if (branches && depth < 4) return branches.map((branch) => outline(branch, depth)).join(`\n${"  ".repeat(depth)}or\n`);
  const items = real.type === "array" && real.items ? resolve(real.items) : null;
  const fields = (items || real).properties;
  if (!fields || depth > 4) return "  ".repeat(depth) + name;
  const required = new Set((items || real).required || []);
  return Object.entries(fields).map(([key, field]) => {
    const about = field.description || resolve(field).description || "";
    const inner = resolve(field);
    const nested = inner.properties || (inner.items && resolve(inner.items).properties);
    const line = `${"  ".repeat(depth)}${key}${required.has(key) ? " *" : ""}: ${shapeName(field)}${about ? `  # ${about}` : ""}`;
    return nested && depth < 3 ? `${line}\n${outline(field, depth + 1)}` : line;
  }).join("\n");
}

function yamlScalar(value) {
  const plain = typeof value === "string" && /^[A-Za-z/][A-Za-z0-9_./-]*$/.test(value)
    && !/^(null|true|false|yes|no|on|off|y|n)$/i.test(value);
  return plain ? value : JSON.stringify(value);
}

// An example as YAML: mappings as blocks, everything else in JSON's form, which is YAML too.
function yaml(value, indent = "") {
  const isMap = value && typeof value === "object" && !Array.isArray(value);
  if (!isMap || Object.keys(value).length === 0) return indent + yamlScalar(value);
  return Object.entries(value).map(([key, inner]) => {
    const nested = inner && typeof inner === "object" && !Array.isArray(inner) && Object.keys(inner).length > 0;
    return nested ? `${indent}${yamlScalar(key)}:\n${yaml(inner, `${indent}  `)}` : `${indent}${yamlScalar(key)}: ${yamlScalar(inner)}`;
  }).join("\n");
}

function parameterRow(parameter) {
  const schema = resolve(parameter.schema);
  let input;
  if (schema.enum || schema.type === "boolean") {
    input = element("select", {}, element("option", { value: "", textContent: "" }),
      ...(schema.enum || [true, false]).map((word) => element("option", { value: String(word), textContent: String(word) })));
  } else {
    input = element("input", { type: schema.type === "integer" ? "number" : "text" });
    if (schema.minimum !== undefined) input.min = schema.minimum;
    if (schema.maximum !== undefined) input.max = schema.maximum;
  }
  input.ariaLabel = `${parameter.name} (${parameter.in})`;
  const label = element("code", { textContent: parameter.name, className: parameter.required ? "required" : "" });
  const about = element("small", { textContent: `${parameter.in}: ${parameter.description || ""}` });
  return { parameter, input, row: element("div", { className: "row" }, label, input, about) };
}

function bodyPart(operation) {
  const body = resolve(operation.requestBody);
  if (!body.content) return null;
  const kind = element("select", { ariaLabel: "Content-Type" }, ...Object.keys(body.content).map((type) => element("option", { value: type, textContent: type })));
  kind.value = body.content["application/yaml"] ? "application/yaml" : kind.value;
  const text = element("textarea", { spellcheck: false, ariaLabel: "Body" });
  const example = Object.values(body.content).map((media) => media.example).find((value) => value !== undefined);
  const fill = () => {
    if (example !== undefined) text.value = kind.value === "application/json" ? JSON.stringify(example, null, 2) : `${yaml(example)}\n`;
  };
  kind.addEventListener("change", () => { if (!text.dataset.edited) fill(); });
  text.addEventListener("input", () => { text.dataset.edited = "yes"; });
  fill();
  const schema = Object.values(body.content)[0].schema;
  const shape = element("details", {}, element("summary", { textContent: "Fields of the body" }),
    element("pre", { textContent: outline(schema) }));
  return { kind, text, row: element("div", {}, element("p", {}, "Body ", kind), text, shape) };
}

function answersTable(operation) {
  const rows = Object.entries(operation.responses).map(([status, response]) => {
    const real = resolve(response);
    const content = Object.entries(real.content || {});
    const cell = element("td", {}, real.description || "");
    const schema = content.map(([, media]) => media.schema).find((found) => found && shapeName(found) !== "string");
    if (schema) {
      const lazy = element("details", {}, element("summary", { textContent: shapeName(schema) || "fields" }));
      lazy.addEventListener("toggle", () => { if (lazy.open && lazy.children.length === 1) lazy.append(element("pre", { textContent: outline(schema) })); });
      cell.append(lazy);
    }
    return element("tr", {}, element("td", {}, element("code", { textContent: status })), cell,
      element("td", { textContent: content.map(([type]) => type).join(", ") }));
  });
  return element("table", {}, element("tbody", {}, ...rows));
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function request(method, path, rows, accept, body) {
  let url = path;
  const query = new URLSearchParams();
  const headers = { Accept: accept.value };
  for (const { parameter, input } of rows) {
    if (parameter.in === "path") {
      if (input.value === "") throw new Error(`${parameter.name} is needed`);
      url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    } else if (input.value !== "") {
      if (parameter.in === "query") query.set(parameter.name, input.value);
      else headers[parameter.name] = input.value;
    }
  }
  const token = document.getElementById("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (query.size > 0) url += `?${query}`;
  const options = { method: method.toUpperCase(), headers };
  if (body && body.text.value !== "") {
    headers["Content-Type"] = body.kind.value;
    options.body = body.text.value;
  }
  return { url, options };
}

function curl({ url, options }) {
  const parts = ["curl", "-sS"];
  if (options.method !== "GET") parts.push("-X", options.method);
  for (const [name, value] of Object.entries(options.headers)) {
    // A shown line is copied and kept: the token stays out of it.
    parts.push("-H", name === "Authorization" ? '"Authorization: Bearer $EDGEIO_TOKEN"' : quoted(`${name}: ${value}`));
  }
  if (options.body !== undefined) parts.push("--data-binary", quoted(options.body));
  parts.push(quoted(location.origin + url));
  return parts.join(" ");
}

// Shows an answer as it comes, so that streams are seen too; of a long one, its end.
async function show(response, output) {
  const reader = response.body ? response.body.getReader() : null;
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = reader ? await reader.read() : { done: true };
    text += decoder.decode(value, { stream: !done });
    text = text.slice(-SHOWN);
    output.textContent = text;
    if (done) break;
  }
  if ((response.headers.get("Content-Type") || "").includes("json")) {
    try {
      output.textContent = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // It was cut, or is no JSON after all: it stays as it came.
    }
  }
}

function tryPart(method, path, operation, rows, body) {
  const types = new Set(Object.values(operation.responses).flatMap((response) => Object.keys(resolve(response).content || {})));
  types.delete("application/problem+json");
  const accept = element("select", { ariaLabel: "Accept" }, ...[...(types.size ? types : ["*/*"])].map((type) => element("option", { value: type, textContent: type })));
  const line = element("pre", { hidden: true });
  const status = element("p");
  const output = element("pre", { hidden: true });
  const send = element("button", { type: "button", textContent: "Send" });
  const stop = element("button", { type: "button", textContent: "Stop", className: "plain", hidden: true });
  let running = null;
  stop.addEventListener("click", () => running && running.abort());
  send.addEventListener("click", async () => {
    if (running) running.abort();
    const own = new AbortController();
    running = own;
    stop.hidden = false;
    const began = performance.now();
    try {
      const asked = request(method, path, rows, accept, body);
      line.textContent = curl(asked);
      line.hidden = false;
      status.textContent = "…";
      const response = await fetch(asked.url, { ...asked.options, signal: own.signal });
      const place = response.headers.get("Location");
      status.textContent = `${response.status} ${response.statusText} in ${Math.round(performance.now() - began)} ms${place ? `, Location: ${place}` : ""}`;
      output.hidden = false;
      await show(response, output);
    } catch (error) {
      status.textContent = error.name === "AbortError" ? `${status.textContent} (stopped)` : String(error.message || error);
    } finally {
      if (running === own) {
        running = null;
        stop.hidden = true;
      }
    }
  });
  const bar = element("div", { className: "bar" }, send, stop, element("label", {}, "Accept ", accept));
  return element("div", {}, bar, line, status, output);
}

function operationPart(method, path, operation) {
  const summary = element("summary", {}, element("span", { className: "method", textContent: method.toUpperCase() }),
    element("span", { className: "path", textContent: path }), element("span", { className: "words", textContent: operation.summary }));
  const part = element("details", { id: operation.operationId }, summary);
  part.dataset.words = `${method} ${path} ${operation.summary} ${(operation.tags || []).join(" ")}`.toLowerCase();
  // Filled when it is opened: a page of closed parts is shown at once.
  part.addEventListener("toggle", () => {
    if (!part.open || part.children.length > 1) return;
    const rows = (operation.parameters || []).map(resolve).map(parameterRow);
    const body = bodyPart(operation);
    part.append(element("div", { className: "inside" }, operation.description ? element("p", { textContent: operation.description }) : null,
      ...rows.map(({ row }) => row), body ? body.row : null, tryPart(method, path, operation, rows, body), answersTable(operation)));
  });
  return part;
}

function render() {
  document.title = description.info.title;
  document.getElementById("title").textContent = `${description.info.title} ${description.info.version}`;
  document.getElementById("about").textContent = description.info.description;
  const groups = new Map();
  for (const [path, item] of Object.entries(description.paths)) {
    for (const method of METHODS.filter((each) => item[each])) {
      const tag = (item[method].tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operationPart(method, path, item[method]));
    }
  }
  const sections = [...groups].map(([tag, parts]) => element("section", {}, element("h2", { textContent: tag }), ...parts));
  document.getElementById("operations").replaceChildren(...sections);
  const opened = document.getElementById(location.hash.slice(1));
  if (opened && opened.tagName === "DETAILS") opened.open = true;
}

document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  for (const section of document.querySelectorAll("section")) {
    const parts = [...section.querySelectorAll("details[data-words]")];
    for (const part of parts) part.hidden = !words.every((word) => part.dataset.words.includes(word));
    section.hidden = parts.every((part) => part.hidden);
  }
});

fetch("/openapi.json").then((response) => {
  if (!response.ok) throw new Error(`status ${response.status}`);
  return response.json();
}).then((found) => {
  description = found;
  render();
}).catch((error) => {
  document.getElementById("state").textContent = `Cannot read /openapi.json: ${error.message}`;
});
