use std::fmt::Write as _;

use clap::CommandFactory;
use expect_test::expect_file;

use super::*;

#[test]
fn the_command_line_is_sound() {
    Options::command().debug_assert();
}

/// The help of a command and of all below it.
fn helps(command: &mut clap::Command, name: &str, text: &mut String) {
    let mut help = command.clone().bin_name(name).term_width(100);
    let help = help.render_long_help();
    let _ = writeln!(text, "$ {name} --help\n{help}\n");
    let names: Vec<_> = command
        .get_subcommands()
        .map(|below| below.get_name().to_owned())
        .filter(|name| name != "help")
        .collect();
    for below in names {
        let found = command.find_subcommand_mut(&below).unwrap();
        helps(found, &format!("{name} {below}"), text);
    }
}

/// The whole command, without what each command has in common with all others.
fn all_helps() -> String {
    let mut text = String::new();
    let mut command = Options::command();
    // With the options of all requests it would be ten times as long.
    for name in [
        "url",
        "context",
        "token",
        "token_file",
        "ca",
        "insecure",
        "output",
    ] {
        command = command.mut_arg(name, |arg| arg.hide(true).global(false));
    }
    helps(&mut command, "edgeio", &mut text);
    text
}

#[test]
fn help_is_in_sentences() {
    expect_file!["help.txt"].assert_eq(&all_helps());
}

#[test]
fn options_of_all_requests_are_told_everywhere() {
    let mut command = Options::command();
    command.build();
    for path in [vec!["get", "jobs"], vec!["logs"], vec!["context", "set"]] {
        let found = path.iter().fold(&command, |command, name| {
            command.find_subcommand(name).unwrap()
        });
        let help = found.clone().render_long_help().to_string();
        for option in [
            "--url",
            "--context",
            "--token-file",
            "--output",
            "EDGEIO_URL",
        ] {
            assert!(help.contains(option), "{path:?} lacks {option}: {help}");
        }
    }
}

/// The words of a command line, quotes taken off.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.push(String::new()),
            (c, _) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The commands of a line of a shell that are ours: what stands after pipes, redirections and in comments is not.
fn commands(line: &str) -> Vec<String> {
    let line = line.split(" # ").next().unwrap();
    let parts = line.split("   ").flat_map(|part| part.split(" && "));
    let ours = parts.flat_map(|part| part.split(" | ")).filter_map(|part| {
        let part = part.split(" > ").next().unwrap().trim();
        let rest = part
            .strip_prefix("edgeio ")
            .or_else(|| part.strip_prefix("cargo run --release -- "))?;
        Some(format!("edgeio {rest}"))
    });
    ours.collect()
}

fn parse(command: &str) {
    if let Err(error) = Options::try_parse_from(words(command)) {
        assert!(!error.use_stderr(), "{command}:\n{error}");
    }
}

#[test]
fn each_example_of_a_help_is_understood() {
    let help = all_helps();
    let examples: Vec<_> = help
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .flat_map(commands)
        .collect();
    assert!(examples.len() > 40, "{examples:#?}");
    for example in &examples {
        parse(example);
    }
    for command in Options::command().get_subcommands() {
        let name = command.get_name();
        let shown = examples
            .iter()
            .any(|example| words(example).iter().any(|word| word == name));
        assert!(shown, "no example of {name}");
    }
}

#[test]
fn each_command_of_the_readme_is_understood() {
    let readme = include_str!("../../../../README.md");
    // Every other part is a block of code.
    let blocks = readme.split("```").skip(1).step_by(2);
    let lines = blocks.map(|block| block.replace("\\\n", " "));
    let found: Vec<_> = lines
        .flat_map(|block| block.lines().flat_map(commands).collect::<Vec<_>>())
        .collect();
    assert!(found.len() > 4, "{found:#?}");
    for command in &found {
        parse(command);
    }
}
