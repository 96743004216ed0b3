//! One connection: requests in, answers out, in order.

use super::answer::{self, Refusal};
use super::body::{Body, Step};
use super::request::{Framing, MAX_HEAD, Method, Request, Target};

/// A client that sends little costs little; one that fills the space gets more.
const SMALLEST: usize = 2 * 1024;
/// Holds the longest head with room to spare, so that [`Connection::space`] is
/// never empty.
const LARGEST: usize = 4 * MAX_HEAD;

/// What to do once the output has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Receive more.
    Read,
    /// End the connection; nothing that follows in the input will be answered.
    Close,
}

/// The server's side of a connection.
#[derive(Debug)]
pub struct Connection {
    /// Its first `filled` bytes are input which could not be used yet.
    input: Box<[u8]>,
    filled: usize,
    output: Vec<u8>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The head of a request is to come.
    Idle,
    /// A head was there, and its body is to come.
    InBody {
        body: Body,
        to: Destination,
        keep_alive: bool,
    },
    Closed,
}

/// Where the body of a request goes.
#[derive(Clone, Copy, Debug)]
enum Destination {
    /// Back, in the framing in which it came.
    Echo(Framing),
    /// Nowhere; it must be read to find the next request behind it.
    Nowhere,
}

impl Connection {
    pub fn new() -> Connection {
        Connection { input: vec![0; SMALLEST].into_boxed_slice(), filled: 0, output: Vec::new(), state: State::Idle }
    }

    /// Where the next bytes from the client go.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.input[self.filled..]
    }

    /// What to send to the client, all of it, before receiving again.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Works on the first `length` bytes of [`space`](Connection::space), which
    /// have been received. The output is a new one.
    ///
    /// # Panics
    /// If `length` is more than there was space for.
    pub fn receive(&mut self, length: usize) -> Next {
        assert!(length <= self.input.len() - self.filled, "more was received than there was space for");
        self.filled += length;
        self.output.clear();
        let was_full = self.filled == self.input.len();

        let mut used = 0;
        loop {
            // Taken out, so that input, output and state are borrowed apart.
            let state = std::mem::replace(&mut self.state, State::Closed);
            match advance(state, &self.input[used..self.filled], &mut self.output) {
                Ok(Advance::On { state, used: more }) => {
                    self.state = state;
                    used += more;
                }
                Ok(Advance::Starved { state }) => {
                    self.state = state;
                    break;
                }
                Err(refusal) => {
                    answer::refusal(&mut self.output, refusal, None, false);
                    break;
                }
            }
        }

        self.input.copy_within(used..self.filled, 0);
        self.filled -= used;
        if was_full && self.input.len() < LARGEST {
            let mut larger = vec![0; self.input.len() * 2];
            larger[..self.filled].copy_from_slice(&self.input[..self.filled]);
            self.input = larger.into_boxed_slice();
        }
        match self.state {
            State::Closed => Next::Close,
            _ => Next::Read,
        }
    }
}

enum Advance {
    /// `used` bytes of the input brought the connection into `state`.
    On { state: State, used: usize },
    /// The rest of the input says too little yet, or nothing any more.
    Starved { state: State },
}

/// One step: a head, or a piece of a body.
fn advance(state: State, input: &[u8], output: &mut Vec<u8>) -> Result<Advance, Refusal> {
    match state {
        State::Idle if input.is_empty() => Ok(Advance::Starved { state }),
        State::Idle => match Request::parse(input)? {
            Some((used, request)) => Ok(Advance::On { state: answer_head(&request, output), used }),
            None => Ok(Advance::Starved { state }),
        },
        State::InBody { mut body, to, keep_alive } => {
            let step = match body.step(input) {
                Ok(step) => step,
                // In the middle of an answer there is no place for another one:
                // that it ends too early is all that the client will see.
                Err(_) if matches!(to, Destination::Echo(_)) => {
                    return Ok(Advance::Starved { state: State::Closed });
                }
                Err(refusal) => return Err(refusal),
            };
            match step {
                Step::Data { used, data } => {
                    match to {
                        Destination::Echo(Framing::Length(_)) => output.extend_from_slice(data),
                        Destination::Echo(Framing::Chunked) => answer::chunk(output, data),
                        Destination::Nowhere => {}
                    }
                    let state = State::InBody { body, to, keep_alive };
                    Ok(Advance::On { state, used })
                }
                Step::Starved => Ok(Advance::Starved { state: State::InBody { body, to, keep_alive } }),
                Step::End { used } => {
                    if let Destination::Echo(Framing::Chunked) = to {
                        answer::last_chunk(output);
                    }
                    let state = if keep_alive { State::Idle } else { State::Closed };
                    Ok(Advance::On { state, used })
                }
            }
        }
        State::Closed => Ok(Advance::Starved { state }),
    }
}

/// Answers as far as is possible before the body is there.
fn answer_head(request: &Request, output: &mut Vec<u8>) -> State {
    let refusal = match (request.target, request.method) {
        (Target::Root, Method::Get | Method::Head) => None,
        (Target::Echo, Method::Post) => None,
        (Target::Root, _) => Some(Refusal::NotAllowed("GET, HEAD")),
        (Target::Echo, _) => Some(Refusal::NotAllowed("POST")),
        (Target::Other, _) => Some(Refusal::NotFound),
    };
    if let Some(refusal) = refusal {
        // A body that nobody wants is not worth reading to its end.
        let keep_alive = request.keep_alive && !request.has_body();
        answer::refusal(output, refusal, Some(request), keep_alive);
        return if keep_alive { State::Idle } else { State::Closed };
    }

    if request.expects_continue && request.has_body() {
        answer::go_on(output);
    }
    let to = match request.target {
        Target::Echo => {
            answer::echo_head(output, request);
            Destination::Echo(request.framing)
        }
        _ => {
            answer::greeting(output, request);
            Destination::Nowhere
        }
    };
    State::InBody { body: Body::new(request.framing), to, keep_alive: request.keep_alive }
}
