//! The server's answers, and how a client checks one.

use std::io::{self, Write};

use httparse::{EMPTY_HEADER, Status};

use super::request::{Framing, Method, Request};

/// The body of `GET /`.
pub const GREETING: &[u8] = b"A small stream, and everybody drinks.\n";

/// Why a request is not done. The line that says so is its own body, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    NotFound,
    /// With the methods that would have been right.
    NotAllowed(&'static str),
    HeadTooLarge,
    UnknownEncoding,
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Refusal::Malformed => "400 Bad Request",
            Refusal::NotFound => "404 Not Found",
            Refusal::NotAllowed(_) => "405 Method Not Allowed",
            Refusal::HeadTooLarge => "431 Request Header Fields Too Large",
            Refusal::UnknownEncoding => "501 Not Implemented",
        }
    }
}

/// Says whether the connection goes on after this answer, where that is not what
/// the client's version of HTTP takes for granted.
fn connection(is_1_1: bool, keep_alive: bool) -> &'static str {
    match (is_1_1, keep_alive) {
        (_, false) => "Connection: close\r\n",
        (false, true) => "Connection: keep-alive\r\n",
        (true, true) => "",
    }
}

/// Writing to memory fails only where the memory ends, and then by a panic.
fn write(output: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("writing to a Vec does not fail");
}

/// "Go on": the client may send its body.
pub fn go_on(output: &mut Vec<u8>) {
    output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
}

pub fn greeting(output: &mut Vec<u8>, request: &Request) {
    let connection = connection(request.is_1_1, request.keep_alive);
    let length = GREETING.len();
    write(
        output,
        format_args!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{connection}\r\n"),
    );
    if request.method != Method::Head {
        output.extend_from_slice(GREETING);
    }
}

/// The head of an echo. Its body is framed like that of the request.
pub fn echo_head(output: &mut Vec<u8>, request: &Request) {
    let connection = connection(request.is_1_1, request.keep_alive);
    write(output, format_args!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n{connection}"));
    match request.framing {
        Framing::Length(length) => write(output, format_args!("Content-Length: {length}\r\n\r\n")),
        Framing::Chunked => output.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n"),
    }
}

/// One chunk. An empty one would end the body.
pub fn chunk(output: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        write(output, format_args!("{:x}\r\n", data.len()));
        output.extend_from_slice(data);
        output.extend_from_slice(b"\r\n");
    }
}

pub fn last_chunk(output: &mut Vec<u8>) {
    output.extend_from_slice(b"0\r\n\r\n");
}

/// Refuses `request`, of which nothing is known if it could not be understood.
pub fn refusal(output: &mut Vec<u8>, refusal: Refusal, request: Option<&Request>, keep_alive: bool) {
    let status = refusal.status();
    // The line break is part of the body.
    let length = status.len() + 1;
    let connection = connection(request.is_none_or(|request| request.is_1_1), keep_alive);
    write(
        output,
        format_args!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{connection}"),
    );
    if let Refusal::NotAllowed(methods) = refusal {
        write(output, format_args!("Allow: {methods}\r\n"));
    }
    output.extend_from_slice(b"\r\n");
    if request.is_none_or(|request| request.method != Method::Head) {
        write(output, format_args!("{status}\n"));
    }
}

/// Whether `input` is the complete answer to `GET /`.
///
/// # Errors
/// [`InvalidData`](io::ErrorKind::InvalidData) as soon as it can not become the
/// right one any more.
pub fn verify_greeting(input: &[u8]) -> io::Result<bool> {
    let wrong = |what: &str| {
        let input = String::from_utf8_lossy(input);
        io::Error::new(io::ErrorKind::InvalidData, format!("{what} in the answer {input:?}"))
    };
    let mut headers = [EMPTY_HEADER; 8];
    let mut answer = httparse::Response::new(&mut headers);
    let head = match answer.parse(input) {
        Ok(Status::Complete(head)) => head,
        Ok(Status::Partial) => return Ok(false),
        Err(error) => return Err(wrong(&error.to_string())),
    };
    if answer.code != Some(200) {
        return Err(wrong("not the status 200"));
    }
    let length = answer
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| str::from_utf8(header.value).ok()?.parse().ok());
    if length != Some(GREETING.len()) {
        return Err(wrong("not the length of the greeting"));
    }
    let body = &input[head..];
    if !GREETING.starts_with(body) {
        return Err(wrong("not the greeting"));
    }
    Ok(body.len() == GREETING.len())
}
