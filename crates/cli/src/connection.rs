//! Where requests go, and as whom: options, before the environment, before the current context, before the default.

use std::path::{Path, PathBuf};

use clap::Args;
use daemon::dial::authority;
use orchestrator::access::ADMIN_TOKEN;

use crate::client::{Client, Target};
use crate::context::{Context, Contexts, Environment, File, read_token};
use crate::failure::Failure;
use crate::local::{Local, is_this_machine};

/// Where requests go when nothing else is said.
const URL: &str = "http://127.0.0.1:10000";

/// Where requests go, and as whom.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Connection {
    /// The orchestrator that is asked, as in http://127.0.0.1:10000, which is the default; also as EDGEIO_URL.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Options of all requests"
    )]
    pub(crate) url: Option<String>,
    /// The context to use instead of the current one; also as EDGEIO_CONTEXT.
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Options of all requests",
        conflicts_with = "url"
    )]
    pub(crate) context: Option<String>,
    /// The credential to show; also as EDGEIO_TOKEN, where other users cannot see it in the list of processes.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        help_heading = "Options of all requests"
    )]
    pub(crate) token: Option<String>,
    /// The file that holds the credential; also as EDGEIO_TOKEN_FILE.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Options of all requests"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// Whom to believe where the URL begins with https: the file of the server's authority, which is
    /// identity/authority.pem in its data directory; also as EDGEIO_CA.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Options of all requests"
    )]
    pub(crate) ca: Option<PathBuf>,
    /// Allows requests in plain text to other machines; also as EDGEIO_INSECURE.
    #[arg(long, global = true, help_heading = "Options of all requests")]
    pub(crate) insecure: bool,
}

/// What said where requests go.
enum Origin {
    Flag,
    Environment,
    /// A context; asked for with `--context`, or not.
    Context(Context, bool),
    Default,
}

impl Connection {
    /// The client for it.
    ///
    /// # Errors
    /// When the URL, the token, its file or the contexts cannot be used.
    pub(crate) fn client(&self, environment: Environment<'_>) -> Result<Client, Failure> {
        let load = || File::of(environment)?.load();
        Client::new(&self.target(environment, load)?)
    }

    /// What all sources say together. The contexts are read only where they count, so that a broken file of them does
    /// not keep anybody from naming the server.
    fn target(
        &self,
        environment: Environment<'_>,
        contexts: impl FnOnce() -> Result<Contexts, Failure>,
    ) -> Result<Target, Failure> {
        let (url, origin) = self.origin(environment, contexts)?;
        let token = match (self.token_of(environment, &origin)?, &origin) {
            (None, Origin::Flag | Origin::Environment | Origin::Default) => {
                Self::nearby(environment, &url)
            }
            (token, _) => token,
        };
        let insecure = self.insecure
            || environment("EDGEIO_INSECURE").is_some_and(|text| is_true(&text))
            || matches!(&origin, Origin::Context(context, _) if context.insecure);
        let of_context = match &origin {
            Origin::Context(context, _) => context.ca.clone(),
            Origin::Flag | Origin::Environment | Origin::Default => None,
        };
        let ca = self.ca.clone().filter(|path| !path.as_os_str().is_empty());
        let ca = ca
            .or_else(|| environment("EDGEIO_CA").map(PathBuf::from))
            .or(of_context);
        let named_by = match origin {
            Origin::Flag => "named by --url",
            Origin::Environment => "named by EDGEIO_URL",
            Origin::Context(_, true) => "named by the context",
            Origin::Context(_, false) => "named by the current context",
            Origin::Default => "the default",
        };
        Ok(Target {
            url,
            token,
            insecure,
            ca,
            named_by,
        })
    }

    fn origin(
        &self,
        environment: Environment<'_>,
        contexts: impl FnOnce() -> Result<Contexts, Failure>,
    ) -> Result<(String, Origin), Failure> {
        // An option that is given as nothing counts as not given, as with every program.
        if let Some(url) = self.url.clone().filter(|url| !url.is_empty()) {
            return Ok((url, Origin::Flag));
        }
        let asked = self.context.as_deref();
        if let (None, Some(url)) = (asked, environment("EDGEIO_URL")) {
            return Ok((url, Origin::Environment));
        }
        let contexts = match contexts() {
            Ok(contexts) => contexts,
            // Without a home there are no contexts, and nobody asked for one.
            Err(Failure::Usage(_)) if asked.is_none() => Contexts::default(),
            Err(failure) => return Err(failure),
        };
        let name = asked
            .map(str::to_owned)
            .or_else(|| environment("EDGEIO_CONTEXT"))
            .or_else(|| contexts.current.clone());
        match name {
            Some(name) => {
                let context = contexts.named(&name)?.clone();
                Ok((
                    context.url.clone(),
                    Origin::Context(context, asked.is_some()),
                ))
            }
            None => Ok((URL.to_owned(), Origin::Default)),
        }
    }

    /// A context's credential goes to that context's server and to no other.
    fn token_of(
        &self,
        environment: Environment<'_>,
        origin: &Origin,
    ) -> Result<Option<String>, Failure> {
        if let Some(token) = self.own_token()? {
            return Ok(Some(token));
        }
        let of_environment = || match environment("EDGEIO_TOKEN") {
            Some(token) => Ok(Some(token)),
            None => environment("EDGEIO_TOKEN_FILE")
                .map(|path| read_token(Path::new(&path)))
                .transpose(),
        };
        match origin {
            Origin::Context(context, true) => match context.token()? {
                Some(token) => Ok(Some(token)),
                None => of_environment(),
            },
            Origin::Context(context, false) => match of_environment()? {
                Some(token) => Ok(Some(token)),
                None => context.token(),
            },
            Origin::Flag | Origin::Environment | Origin::Default => of_environment(),
        }
    }

    /// The administrator's token of a system of this machine: what `edgeio up` noted of that address, or else the
    /// token in a data directory of the usual name right here.
    fn nearby(environment: Environment<'_>, url: &str) -> Option<String> {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split('/').next().and_then(authority)?.0;
        if !is_this_machine(&host) {
            return None;
        }
        let noted = Local::of(environment).and_then(|local| local.token_file(url));
        let usual = ["edgeio-data", "edgeio-root", "edgeio-cluster"];
        let usual = usual.map(|dir| Path::new(dir).join(ADMIN_TOKEN));
        noted
            .into_iter()
            .chain(usual)
            .find_map(|path| read_token(&path).ok())
    }

    /// The credential that the options give.
    fn own_token(&self) -> Result<Option<String>, Failure> {
        match (&self.token, &self.token_file) {
            (Some(token), _) if !token.is_empty() => Ok(Some(token.clone())),
            (_, Some(path)) if !path.as_os_str().is_empty() => read_token(path).map(Some),
            (_, _) => Ok(None),
        }
    }
}

/// As clap reads a switch from the environment.
fn is_true(text: &str) -> bool {
    !matches!(
        text.to_ascii_lowercase().as_str(),
        "" | "n" | "no" | "f" | "false" | "off" | "0"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Secret;

    fn contexts() -> Contexts {
        let context = |host: &str, insecure| Context {
            url: format!("http://{host}"),
            token_file: None,
            token: Some(Secret(format!("of-{host}"))),
            ca: None,
            insecure,
        };
        Contexts {
            current: Some("lab".to_owned()),
            contexts: [("lab", true), ("home", false)]
                .into_iter()
                .map(|(name, insecure)| (name.to_owned(), context(name, insecure)))
                .collect(),
        }
    }

    /// The options, the variables, and the URL, token and insecurity that follow.
    type Case<'a> = (
        Connection,
        &'a [(&'a str, &'a str)],
        (&'a str, Option<&'a str>, bool),
    );

    #[test]
    fn options_come_before_the_environment_and_that_before_the_context() {
        let text = |text: &str| Some(text.to_owned());
        let url = Connection {
            url: text("http://flag"),
            ..Connection::default()
        };
        let context = Connection {
            context: text("home"),
            ..Connection::default()
        };
        let token = Connection {
            token: text("flag"),
            ..Connection::default()
        };
        let variables: &[_] = &[("EDGEIO_URL", "http://env"), ("EDGEIO_TOKEN", "env")];
        let table: [Case<'_>; 9] = [
            (
                Connection::default(),
                &[],
                ("http://lab", Some("of-lab"), true),
            ),
            (
                Connection::default(),
                variables,
                ("http://env", Some("env"), false),
            ),
            (
                Connection::default(),
                &[("EDGEIO_TOKEN", "env")],
                ("http://lab", Some("env"), true),
            ),
            (
                Connection::default(),
                &[("EDGEIO_CONTEXT", "home"), ("EDGEIO_INSECURE", "1")],
                ("http://home", Some("of-home"), true),
            ),
            (url.clone(), variables, ("http://flag", Some("env"), false)),
            (url, &[], ("http://flag", None, false)),
            (
                context.clone(),
                variables,
                ("http://home", Some("of-home"), false),
            ),
            (context, &[], ("http://home", Some("of-home"), false)),
            (token, variables, ("http://env", Some("flag"), false)),
        ];
        for (options, variables, expected) in table {
            let environment = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name)?;
                Some(found.1.to_owned())
            };
            let target = options.target(&environment, || Ok(contexts())).unwrap();
            let found = (
                target.url.as_str(),
                target.token.as_deref(),
                target.insecure,
            );
            assert_eq!(found, expected, "{options:?} {variables:?}");
        }
    }

    #[test]
    fn contexts_are_not_read_where_they_do_not_count() {
        let broken = || {
            Err(Failure::Config {
                path: "x".into(),
                why: String::new(),
            })
        };
        let nothing = |_: &str| None;
        let url = Connection {
            url: Some("http://flag".to_owned()),
            ..Connection::default()
        };
        assert!(url.target(&nothing, broken).is_ok());
        assert!(Connection::default().target(&nothing, broken).is_err());
        let homeless = || Err(Failure::Usage(String::new()));
        let target = Connection::default().target(&nothing, homeless).unwrap();
        assert_eq!(target.url, URL);
    }

    #[test]
    fn a_context_that_is_not_there_is_told_with_those_that_are() {
        let asked = Connection {
            context: Some("lap".to_owned()),
            ..Connection::default()
        };
        let failure = asked.target(&|_| None, || Ok(contexts())).map(|_| ());
        assert_eq!(
            failure.unwrap_err().to_string(),
            "no context is named \"lap\": there are home, lab"
        );
    }
}
