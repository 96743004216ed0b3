//! The head of a request: what is asked, and how its end is found.

use httparse::{EMPTY_HEADER, Header, Status};

use super::answer::Refusal;

/// A longer head is refused. Nothing is known of a request before its head is
/// complete, so this bounds what a stranger can make the server remember.
pub const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Root,
    Echo,
    Other,
}

/// How the end of the body is found. A request without a body has one of length 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub target: Target,
    pub framing: Framing,
    /// Whether the client can be answered in HTTP/1.1, rather than in 1.0.
    pub is_1_1: bool,
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

impl Request {
    /// Reads the head at the start of `input`; returns its length with it, or
    /// nothing as long as it is incomplete.
    pub fn parse(input: &[u8]) -> Result<Option<(usize, Request)>, Refusal> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let length = match head.parse(input) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if input.len() <= MAX_HEAD => return Ok(None),
            Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal::HeadTooLarge);
            }
            Err(_) => return Err(Refusal::Malformed),
        };
        if length > MAX_HEAD {
            return Err(Refusal::HeadTooLarge);
        }

        let is_1_1 = head.version == Some(1);
        let fields = Fields::read(head.headers)?;
        // A name for the server is what 1.1 brought (RFC 9112, 3.2).
        if is_1_1 && !fields.has_host {
            return Err(Refusal::Malformed);
        }
        let request = Request {
            method: match head.method {
                Some("GET") => Method::Get,
                Some("HEAD") => Method::Head,
                Some("POST") => Method::Post,
                _ => Method::Other,
            },
            target: target(head.path.unwrap_or_default()),
            framing: fields.framing(is_1_1)?,
            is_1_1,
            keep_alive: !fields.close && (is_1_1 || fields.keep_alive),
            // A client of 1.0 would take the interim answer for the final one.
            expects_continue: is_1_1 && fields.expects_continue,
        };
        Ok(Some((length, request)))
    }

    pub fn has_body(&self) -> bool {
        self.framing != Framing::Length(0)
    }
}

fn target(path: &str) -> Target {
    // Clients write the whole address to a proxy, and a server must bear it, too.
    let path = match path.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |start| &rest[start..]),
        None => path,
    };
    match path.split('?').next() {
        Some("/") => Target::Root,
        Some("/echo") => Target::Echo,
        _ => Target::Other,
    }
}

/// What the header fields say, before it is known whether they agree.
#[derive(Default)]
struct Fields {
    has_host: bool,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
}

impl Fields {
    fn read(headers: &[Header<'_>]) -> Result<Fields, Refusal> {
        let mut fields = Fields::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("host") {
                if fields.has_host {
                    return Err(Refusal::Malformed);
                }
                fields.has_host = true;
            } else if is("content-length") {
                // Where two parties count differently, one takes for a request
                // what the other took for a body. So anything dubious is refused.
                let length = parse_length(header.value).ok_or(Refusal::Malformed)?;
                if fields.length.is_some_and(|other| other != length) {
                    return Err(Refusal::Malformed);
                }
                fields.length = Some(length);
            } else if is("transfer-encoding") {
                if fields.chunked {
                    return Err(Refusal::Malformed);
                }
                if !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::UnknownEncoding);
                }
                fields.chunked = true;
            } else if is("connection") {
                fields.close |= lists(header.value, b"close");
                fields.keep_alive |= lists(header.value, b"keep-alive");
            } else if is("expect") {
                fields.expects_continue = lists(header.value, b"100-continue");
            }
        }
        Ok(fields)
    }

    fn framing(&self, is_1_1: bool) -> Result<Framing, Refusal> {
        match (self.chunked, self.length) {
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
            (true, None) if is_1_1 => Ok(Framing::Chunked),
            // Both at once, or from a client that can not know of chunks.
            (true, _) => Err(Refusal::Malformed),
        }
    }
}

/// Digits and nothing else: `str::parse` alone would take a `+`.
fn parse_length(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(value).ok()?.parse().ok()
}

fn lists(value: &[u8], token: &[u8]) -> bool {
    value.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request, Refusal> {
        let (length, request) = Request::parse(head.as_bytes())?.expect("the head is complete");
        assert_eq!(length, head.len());
        Ok(request)
    }

    fn with(fields: &str) -> Result<Request, Refusal> {
        parse(&format!("POST /echo HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    #[test]
    fn connections_are_kept_as_the_version_says() {
        let keeps = |head: &str| parse(head).unwrap().keep_alive;
        assert!(keeps("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, Close\r\n\r\n"));
        assert!(!keeps("GET / HTTP/1.0\r\n\r\n"));
        assert!(keeps("GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n"));
    }

    #[test]
    fn bodies_whose_end_is_ambiguous_are_refused() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
        ] {
            assert_eq!(with(fields), Err(Refusal::Malformed), "{fields}");
        }
        assert_eq!(with("Transfer-Encoding: gzip, chunked\r\n"), Err(Refusal::UnknownEncoding));
        let old = "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(parse(old), Err(Refusal::Malformed));
    }

    #[test]
    fn the_body_is_framed_by_its_length_or_in_chunks() {
        let framing = |fields: &str| with(fields).unwrap().framing;
        assert_eq!(framing(""), Framing::Length(0));
        assert_eq!(framing("content-length:  12 \r\n"), Framing::Length(12));
        assert_eq!(framing("Content-Length: 7\r\nContent-Length: 7\r\n"), Framing::Length(7));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Framing::Chunked);
    }

    #[test]
    fn the_target_is_found_in_every_form() {
        assert_eq!(target("/"), Target::Root);
        assert_eq!(target("/?a=/echo"), Target::Root);
        assert_eq!(target("http://localhost:8080"), Target::Root);
        assert_eq!(target("http://localhost:8080/echo?b"), Target::Echo);
        assert_eq!(target("/echo/"), Target::Other);
        assert_eq!(target("*"), Target::Other);
    }

    #[test]
    fn heads_without_or_with_two_hosts_are_refused() {
        assert_eq!(parse("GET / HTTP/1.1\r\n\r\n"), Err(Refusal::Malformed));
        assert_eq!(with("Host: b\r\n"), Err(Refusal::Malformed));
    }

    #[test]
    fn heads_are_bounded_in_length_and_in_fields() {
        let long = format!("X: {}\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(with(&long), Err(Refusal::HeadTooLarge));
        assert_eq!(with(&"X: x\r\n".repeat(MAX_HEADERS)), Err(Refusal::HeadTooLarge));
        // Before its end has arrived, too.
        let endless = vec![b'G'; MAX_HEAD + 1];
        assert_eq!(Request::parse(&endless), Err(Refusal::HeadTooLarge));
        assert_eq!(Request::parse(&endless[1..]), Ok(None));
    }
}
