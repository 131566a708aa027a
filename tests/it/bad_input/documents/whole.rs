//! Documents that are bad as a whole, as YAML and as JSON.

/// Its name, the document, and what must be said: line, column, words.
type Case = (&'static str, &'static str, u64, u64, &'static str);

/// Whole documents, and what must be said: line, column, words.
pub(super) const WHOLE: &[Case] = &[
    ("a text", "just text", 1, 1, "mapping"),
    ("a list", "- a\n- b\n", 1, 1, "mapping"),
    ("only marks", "---\n---\n# nothing\n", 1, 1, "empty"),
    (
        "no version",
        "job_name: bad\nimage: nginx\n",
        1,
        1,
        "api_version",
    ),
    (
        "v99",
        "api_version: v99\njob_name: bad\nimage: nginx\n",
        1,
        14,
        "v0.1, v1",
    ),
    (
        "no name",
        "api_version: v0.1\nimage: nginx\n",
        1,
        1,
        "job_name",
    ),
    (
        "no services",
        "api_version: v1\njob_name: bad\nservices: []\n",
        3,
        11,
        "1 to 100",
    ),
    (
        "a service without a name",
        "api_version: v1\njob_name: bad\nservices: [{image: a}]\n",
        3,
        12,
        "required",
    ),
    (
        "two services of one name",
        "api_version: v1\njob_name: bad\nservices:\n- {name: a, image: a}\n- {name: a, image: a}\n",
        5,
        4,
        "a",
    ),
    (
        "native with an image of a registry",
        "api_version: v0.1\njob_name: bad\nimage: nginx\nimage_runtime: native\n",
        3,
        8,
        "file:///",
    ),
    (
        "a command that is no absolute path",
        "api_version: v0.1\njob_name: bad\nimage_runtime: native\ncommand: [sleep]\n",
        4,
        1,
        "absolute",
    ),
    (
        "native with nothing to run",
        "api_version: v0.1\njob_name: bad\nimage_runtime: native\n",
        1,
        1,
        "command",
    ),
    (
        "a tab as indentation",
        "api_version: v0.1\nrequirements:\n\tcpu: 1\n",
        3,
        2,
        "no YAML",
    ),
    (
        "a quote that does not end",
        "api_version: v0.1\njob_name: \"bad\n",
        2,
        11,
        "no YAML",
    ),
    (
        "a colon in a value",
        "api_version: v0.1\njob_name: a: b\n",
        2,
        12,
        "no YAML",
    ),
    (
        "two documents of which the second is bad",
        "api_version: v0.1\njob_name: bad\nimage: nginx\n---\napi_version: v0.1\njob_name: bad2\nimag: nginx\n",
        7,
        1,
        "did you mean `image`",
    ),
    (
        "two documents of one name",
        "api_version: v0.1\njob_name: bad\nimage: nginx\n---\napi_version: v0.1\njob_name: bad\nimage: nginx\n",
        5,
        1,
        "bad",
    ),
];

/// JSON, and what must be said: line, column, words.
pub(super) const JSON: &[Case] = &[
    ("broken off", "{\"api_version\": \"v0.1\",\n", 2, 1, "JSON"),
    ("something behind it", "{} {}", 1, 4, "JSON"),
    (
        "a name twice",
        "{\"job_name\": \"a\",\n \"job_name\": \"b\"}",
        2,
        2,
        "twice",
    ),
    ("NaN", "{\"requirements\": {\"cpu\": NaN}}", 1, 26, "JSON"),
    (
        "a number beyond all",
        "{\"requirements\": {\"cpu\": 1e999}}",
        1,
        26,
        "decimal",
    ),
    ("a list", "[]", 1, 1, "mapping"),
    ("null", "null", 1, 1, "mapping"),
    ("a comment", "// {}", 1, 1, "JSON"),
    (
        "half a surrogate",
        "{\"job_name\": \"\\ud800\"}",
        1,
        14,
        "surrogate",
    ),
    (
        "a text where a number belongs",
        "{\"replicas\": \"2\"}",
        1,
        14,
        "without quotes",
    ),
];
