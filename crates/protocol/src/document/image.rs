//! References of images, and paths of native programs.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::fault::clip;

/// Longest repository with its registry (OCI distribution, "pulling manifests").
const MAX_NAME: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;

/// Checks `[registry[:port]/]repository[:tag][@sha256:digest]` by the grammar of the OCI distribution specification.
///
/// # Errors
/// With what is wrong and what to write instead.
pub(super) fn check_reference(image: &str, allow_local: bool) -> Result<(), String> {
    let fail = |what: &str| Err(format!("\"{}\": {what}", clip(image)));
    if image.is_empty() {
        return fail("an image has a name; write one such as docker.io/library/nginx:1.29");
    }
    if image.contains("://") {
        return fail(
            "an image has no scheme; write registry/repository:tag (file:// is for image_runtime: native)",
        );
    }
    if image.chars().any(|c| !c.is_ascii_graphic()) || image.starts_with('-') {
        return fail(
            "an image has no spaces or special characters and does not begin with -; write registry/repository:tag",
        );
    }
    let (rest, digest) = image
        .split_once('@')
        .map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    if let Some(digest) = digest {
        if digest.contains(['/', '@']) || !digest.contains(':') {
            return fail(
                "an image holds no user or password; remove what stands before @ (a digest is @sha256:…)",
            );
        }
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
            return fail("a digest is sha256: and 64 lower-case hexadecimal digits");
        }
    }
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        let good_start = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let good = tag
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if !(good_start && good && tag.len() <= MAX_TAG) {
            return fail(
                "a tag has 1 to 128 characters of A-Z a-z 0-9 _ . - and does not begin with . or -",
            );
        }
    }
    if name.len() > MAX_NAME {
        return fail("registry and repository have at most 255 characters");
    }
    let (registry, repository) = split_registry(name);
    if let Some(registry) = registry {
        check_registry(registry, allow_local).or_else(|what| fail(&what))?;
    }
    if !repository.split('/').all(is_component) {
        return fail(
            "a repository is lower case: words of a-z 0-9 joined by . _ - and parted by /",
        );
    }
    let first = repository.split('/').next().unwrap_or_default();
    if registry.is_none() && repository.contains('/') && is_disguised_address(first) {
        return fail("this begins like an address in disguise; write the registry's name");
    }
    Ok(())
}

/// Checks `file:///absolute/path`.
///
/// # Errors
/// With what to write instead.
pub(super) fn check_program(image: &str) -> Result<(), String> {
    let path = image.strip_prefix("file://").unwrap_or_default();
    let good = path.len() > 1
        && path.starts_with('/')
        && !path.ends_with('/')
        && !path.chars().any(char::is_control)
        && path
            .split('/')
            .skip(1)
            .all(|part| !matches!(part, "" | "." | ".."));
    if good {
        Ok(())
    } else {
        Err(format!(
            "\"{}\" names no program; write file:///absolute/path without . and .. in it",
            clip(image)
        ))
    }
}

/// The first word is a registry when it looks like a host, as in Docker's own reading.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':', '[']) || first == "localhost" => {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

fn check_registry(registry: &str, allow_local: bool) -> Result<(), String> {
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (
                host,
                if port.is_empty() {
                    None
                } else {
                    Some(port.strip_prefix(':').unwrap_or("?"))
                },
            ),
            None => return Err("the registry's address lacks its ]".to_owned()),
        },
        None => registry
            .split_once(':')
            .map_or((registry, None), |(host, port)| (host, Some(port))),
    };
    if port.is_some_and(|port| {
        port.starts_with('+') || !port.parse::<u16>().is_ok_and(|port| port > 0)
    }) {
        return Err("a registry's port is a number from 1 to 65535".to_owned());
    }
    let local = if registry.starts_with('[') {
        let address: Ipv6Addr = host
            .parse()
            .map_err(|_| "this is no IPv6 address; write [2001:db8::1]:5000/…".to_owned())?;
        let mapped = address.to_ipv4_mapped();
        address.is_loopback()
            || address.is_unspecified()
            || address.is_unicast_link_local()
            || mapped.is_some_and(is_local)
    } else if let Ok(address) = host.parse::<Ipv4Addr>() {
        is_local(address)
    } else if host
        .split('.')
        .next_back()
        .is_some_and(is_disguised_address)
    {
        // A last word that is a number makes resolvers read the whole as an address (127.1, 10.0x1).
        return Err(
            "a registry's address has four decimal parts; write it in full, or the registry's name"
                .to_owned(),
        );
    } else {
        host == "localhost" || host.ends_with(".localhost")
    };
    if local && !allow_local {
        return Err("this registry is on the worker's own machine or link; push the image to one that the network reaches".to_owned());
    }
    let good = registry.starts_with('[')
        || host.split('.').all(|word| {
            !word.is_empty()
                && !word.starts_with('-')
                && !word.ends_with('-')
                && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        });
    if good {
        Ok(())
    } else {
        Err("a registry's name has words of a-z 0-9 - parted by dots".to_owned())
    }
}

const fn is_local(address: Ipv4Addr) -> bool {
    address.is_loopback() || address.is_link_local() || address.is_unspecified()
}

/// A number as old resolvers read addresses: decimal or hexadecimal.
fn is_disguised_address(word: &str) -> bool {
    let hex = word
        .strip_prefix("0x")
        .is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
    hex || (!word.is_empty() && word.chars().all(|c| c.is_ascii_digit()))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_component(word: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators =
        |run: &str| matches!(run, "" | "." | "_" | "__") || run.chars().all(|c| c == '-');
    word.starts_with(alphanumeric)
        && word.ends_with(alphanumeric)
        && word
            .chars()
            .all(|c| alphanumeric(c) || matches!(c, '.' | '_' | '-'))
        && word.split(alphanumeric).all(separators)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_the_wild_are_accepted() {
        let digest = "a".repeat(64);
        for good in [
            "nginx",
            "nginx:1.29",
            "library/nginx:Latest_1.0-x",
            "quay.io/codait/max-object-detector",
            "registry.example.com:5000/a/b__c/d--e.f:v1",
            "192.168.1.10:5000/edge/app",
            "[2001:db8::1]:5000/x",
            "GHCR.io/owner/app",
            &format!("alpine@sha256:{digest}"),
            &format!("docker.io/library/alpine:3@sha256:{digest}"),
        ] {
            assert_eq!(check_reference(good, false), Ok(()), "{good}");
        }
        for local in [
            "localhost:5000/x",
            "127.0.0.1:5000/x",
            "[::1]:5000/x",
            "169.254.169.254/x",
        ] {
            assert!(
                check_reference(local, false)
                    .unwrap_err()
                    .contains("own machine"),
                "{local}"
            );
            assert_eq!(check_reference(local, true), Ok(()), "{local}");
        }
    }

    #[test]
    fn other_references_are_refused() {
        let long = "a".repeat(5_000);
        for bad in [
            "",
            " ",
            "a b",
            "Nginx",
            "a/B",
            "-v/:/host",
            "a:",
            "a:-x",
            ":tag",
            "/a",
            "a/",
            "a//b",
            "a..b",
            "a___b",
            "a-",
            "x@sha256:short",
            "x@md5:00",
            "user:pass@host/x",
            "user@host/x",
            "a@b",
            "http://host/x",
            "file:///bin/sh",
            "0x7f000001/x",
            "2130706433/x",
            "127.1/x",
            "10.0x1/x",
            "[::1/x",
            "[zz]:5/x",
            "[::ffff:127.0.0.1]/x",
            "host.:80/x",
            "h.io:0/x",
            "h.io:99999/x",
            "h.io:+5/x",
            "h_.io/x",
            "a\n",
            "ä",
            &long,
        ] {
            assert!(check_reference(bad, false).is_err(), "{bad}");
        }
    }

    #[test]
    fn programs_are_absolute_paths() {
        assert_eq!(check_program("file:///usr/bin/env"), Ok(()));
        for bad in [
            "",
            "/bin/sh",
            "file://bin/sh",
            "file:///",
            "file:///a/../b",
            "file:///a//b",
            "file:///a/",
            "file:///a\n",
        ] {
            assert!(check_program(bad).is_err(), "{bad}");
        }
    }
}
