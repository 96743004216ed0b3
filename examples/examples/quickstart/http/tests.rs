//! Whole conversations, cut into pieces in every way that a network might.

use super::answer::GREETING;
use super::{Connection, Next, verify_greeting};

/// Hands `input` to the connection in as many pieces as its space demands;
/// returns what it answered, and whether it closed.
fn feed(connection: &mut Connection, mut input: &[u8]) -> (Vec<u8>, bool) {
    let mut answers = Vec::new();
    while !input.is_empty() {
        let space = connection.space();
        let length = space.len().min(input.len());
        assert!(length > 0, "there is no space");
        space[..length].copy_from_slice(&input[..length]);
        let next = connection.receive(length);
        answers.extend_from_slice(connection.output());
        if next == Next::Close {
            return (answers, true);
        }
        input = &input[length..];
    }
    (answers, false)
}

fn converse(input: &[u8]) -> (String, bool) {
    let (answers, closed) = feed(&mut Connection::new(), input);
    (String::from_utf8(answers).expect("the answers are text"), closed)
}

fn greeting(fields: &str) -> String {
    let length = GREETING.len();
    let body = str::from_utf8(GREETING).unwrap();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

/// The body of an answer in chunks, whose head and end are right.
fn unchunk(answer: &str) -> String {
    let (head, mut rest) = answer.split_once("\r\n\r\n").expect("the answer has a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nTransfer-Encoding: chunked"), "{head}");
    let mut body = String::new();
    loop {
        let (size, chunk) = rest.split_once("\r\n").expect("a chunk has a line with its size");
        let size = usize::from_str_radix(size, 16).expect("its size is a number");
        if size == 0 {
            assert_eq!(chunk, "\r\n", "nothing follows the last chunk");
            return body;
        }
        body.push_str(&chunk[..size]);
        rest = chunk[size..].strip_prefix("\r\n").expect("a chunk ends with a line break");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_however_they_are_split() {
    let input = "GET / HTTP/1.1\r\nHost: a\r\n\r\n\
                 POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
                 GET /missing HTTP/1.1\r\nHost: a\r\n\r\n\
                 GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGET\
                 HEAD / HTTP/1.1\r\nHost: a\r\n\r\n\
                 GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
                 GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        .as_bytes();
    let full = greeting("");
    let head = full.strip_suffix(str::from_utf8(GREETING).unwrap()).unwrap();
    let expected = [
        &full,
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\n404 Not Found\n",
        &full,
        head,
        &greeting("Connection: close\r\n"),
    ]
    .concat();

    for split in 0..=input.len() {
        let mut connection = Connection::new();
        let (mut answers, mut closed) = feed(&mut connection, &input[..split]);
        if !closed {
            let (more, closes) = feed(&mut connection, &input[split..]);
            answers.extend_from_slice(&more);
            closed = closes;
        }
        assert_eq!(String::from_utf8_lossy(&answers), expected, "split at {split}");
        assert!(closed, "split at {split}");
    }

    // One byte at a time.
    let mut connection = Connection::new();
    let mut answers = Vec::new();
    for byte in input {
        let (more, closed) = feed(&mut connection, std::slice::from_ref(byte));
        answers.extend_from_slice(&more);
        if closed {
            break;
        }
    }
    assert_eq!(String::from_utf8_lossy(&answers), expected);
}

#[test]
fn chunks_are_echoed_in_chunks_however_they_are_split() {
    let input = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                  5\r\nhello\r\n8;x=y\r\n, stream\r\n0\r\nTrailer: z\r\n\r\n";
    for split in 0..input.len() {
        let mut connection = Connection::new();
        let (mut answers, early) = feed(&mut connection, &input[..split]);
        assert!(!early, "closed before the last byte, split at {split}");
        let (more, closed) = feed(&mut connection, &input[split..]);
        answers.extend_from_slice(&more);
        assert_eq!(unchunk(str::from_utf8(&answers).unwrap()), "hello, stream", "split at {split}");
        assert!(closed, "split at {split}");
    }
}

#[test]
fn bad_requests_are_refused_and_the_connection_ends() {
    for (request, status) in [
        ("this is not a request\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/2.0\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", "400"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "400"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "405"),
    ] {
        // What follows a request of which nobody knows the end is no request.
        let (answer, closed) = converse(format!("{request}GET / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{request:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answer}");
        assert!(closed, "{request:?}");
    }
}

#[test]
fn a_refusal_without_a_body_leaves_the_connection_open() {
    let (answer, closed) = converse(b"DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\nHEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"), "{answer}");
    assert!(answer.contains("\r\nAllow: POST\r\n\r\n405 Method Not Allowed\nHTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "an answer to HEAD has no body: {answer}");
    assert!(!closed);
}

#[test]
fn a_head_without_end_is_refused() {
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(1 << 20));
    let (answer, closed) = converse(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(closed);
}

#[test]
fn chunks_that_break_end_the_connection_without_a_second_answer() {
    let (answer, closed) =
        converse(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\n3\r\nabc\r\n"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(closed);
}

#[test]
fn a_client_that_waits_is_told_to_go_on_before_its_answer_starts() {
    let mut connection = Connection::new();
    let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let (answer, _) = feed(&mut connection, head);
    assert!(answer.starts_with(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
    assert_eq!(feed(&mut connection, b"ab"), (b"ab".to_vec(), false));

    // If the answer is no, it is the only one.
    let (answer, closed) =
        converse(b"POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(closed);
}

#[test]
fn clients_of_1_0_are_closed_unless_they_ask() {
    assert_eq!(converse(b"GET / HTTP/1.0\r\n\r\n"), (greeting("Connection: close\r\n"), true));
    let asks = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(converse(asks), (greeting("Connection: keep-alive\r\n"), false));
}

#[test]
fn a_body_of_any_length_passes_through_bounded_memory() {
    let mut connection = Connection::new();
    let head = format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 64 << 20);
    feed(&mut connection, head.as_bytes());
    let mut left: usize = 64 << 20;
    while left > 0 {
        let length = connection.space().len().min(left);
        assert_eq!(connection.receive(length), Next::Read);
        assert_eq!(connection.output().len(), length);
        assert!(length <= 64 * 1024, "the space grew to {length}");
        left -= length;
    }
    assert_eq!(feed(&mut connection, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").0, greeting("").as_bytes());
}

#[test]
fn a_greeting_is_verified_to_its_last_byte() {
    let answer = greeting("");
    let answer = answer.as_bytes();
    for length in 0..answer.len() {
        assert!(!verify_greeting(&answer[..length]).unwrap(), "{length} bytes");
    }
    assert!(verify_greeting(answer).unwrap());

    let text = str::from_utf8(answer).unwrap();
    for wrong in [
        text.replace("200 OK", "404 Not Found"),
        text.replace("Content-Length: ", "Content-Length: 1"),
        text.replace("stream", "flood "),
        format!("{text}!"),
        text.replace("HTTP/", "SMTP/"),
    ] {
        assert!(verify_greeting(wrong.as_bytes()).is_err(), "{wrong}");
    }
}
