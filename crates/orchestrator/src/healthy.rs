//! `root-orchestrator healthy`: asks the program that runs with the same options whether it can be used.
//!
//! It is the check of a container that has no shell and no curl: nothing but the program itself. It dials the loopback of its own
//! machine, where plain text is spoken, and starts nothing.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::with_sources;

/// The word that asks for it, before all options.
pub(crate) const WORD: &str = "healthy";
/// How long the program may take to let a connection in, and for each piece of its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const ANSWER: u64 = 16 * 1024;

/// Why it is not healthy.
#[derive(Debug, thiserror::Error)]
enum Ill {
    /// It listens where plain text is not spoken, or nobody knows where.
    #[error(
        "the program with --http {http} cannot be asked from its own machine; let it listen on 0.0.0.0 or 127.0.0.1, and at a port \
         that is not 0"
    )]
    OutOfReach { http: SocketAddr },
    /// Nobody answers.
    #[error("nothing answers at {at}")]
    Silent {
        at: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// It answers, and says no.
    #[error("not healthy: {0}")]
    Says(String),
}

/// Asks `path` of the program that listens at `http`; 0 where the answer is 200, with what it said on standard output.
pub(crate) fn main(http: SocketAddr, path: &str) -> ExitCode {
    let (text, code) = match ask(http, path) {
        Ok(said) => (said, daemon::exit::OK),
        Err(ill) => (with_sources(&ill), daemon::exit::FAILURE),
    };
    // The exit code is what counts; who started this may read nothing.
    let _ = writeln!(io::stdout().lock(), "{}", text.trim_end());
    ExitCode::from(code)
}

fn ask(http: SocketAddr, path: &str) -> Result<String, Ill> {
    let at = near(http).ok_or(Ill::OutOfReach { http })?;
    let answer = exchange(at, path).map_err(|source| Ill::Silent { at, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) == Some("200") {
        return Ok(body.to_owned());
    }
    let line = head.lines().next().unwrap_or_default();
    Err(Ill::Says(format!("{line} {body}")))
}

fn exchange(at: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The loopback address at which a program is reached that listens there.
fn near(http: SocketAddr) -> Option<SocketAddr> {
    let ip = match http.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip.to_canonical().is_loopback() && http.port() != 0)
        .then_some(SocketAddr::new(ip, http.port()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with these bytes.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        });
        at
    }

    #[test]
    fn what_listens_everywhere_is_asked_on_loopback() {
        for (http, at) in [
            ("0.0.0.0:7", Some("127.0.0.1:7")),
            ("[::]:7", Some("[::1]:7")),
            ("127.0.0.2:7", Some("127.0.0.2:7")),
            ("192.0.2.7:7", None),
            ("0.0.0.0:0", None),
        ] {
            let at = at.map(|at| at.parse().unwrap());
            assert_eq!(near(http.parse().unwrap()), at, "{http}");
        }
    }

    #[test]
    fn only_an_answer_of_200_is_healthy() {
        let good = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(ask(server(good), "/readyz").unwrap(), "{}");
        let bad = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"missing\":[\"the store\"]}";
        let ill = ask(server(bad), "/readyz").unwrap_err().to_string();
        assert!(ill.contains("503") && ill.contains("the store"), "{ill}");
        assert!(matches!(ask(server(""), "/readyz"), Err(Ill::Says(_))));
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = gone.local_addr().unwrap();
        drop(gone);
        assert!(matches!(ask(at, "/readyz"), Err(Ill::Silent { .. })));
        let far = ask("192.0.2.7:7".parse().unwrap(), "/readyz");
        assert!(far.unwrap_err().to_string().contains("--http"));
    }
}
