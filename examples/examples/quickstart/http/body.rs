//! The body of a request, taken apart while it arrives.

use httparse::{EMPTY_HEADER, Status};

use super::answer::Refusal;
use super::request::{Framing, MAX_HEAD};

/// The line before a chunk is a number; what else may stand there has no meaning
/// here, and gets little room.
const MAX_CHUNK_LINE: usize = 256;
const MAX_TRAILERS: usize = 16;

/// How far the body in hand has been read.
#[derive(Debug)]
pub enum Body {
    /// This many bytes are to come.
    Length(u64),
    /// The line with the size of the next chunk is to come.
    ChunkLine,
    /// This many bytes of a chunk are to come.
    Chunk(u64),
    /// The line break behind a chunk is to come.
    ChunkEnd,
    /// The last chunk was there; fields may follow, and a blank line.
    Trailers,
}

/// What was found at the start of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The next `used` bytes are read; `data`, at their end, belongs to the body.
    Data { used: usize, data: &'a [u8] },
    /// Too little to make anything of.
    Starved,
    /// With `used` more bytes the body is over.
    End { used: usize },
}

impl Body {
    pub fn new(framing: Framing) -> Body {
        match framing {
            Framing::Length(length) => Body::Length(length),
            Framing::Chunked => Body::ChunkLine,
        }
    }

    /// Reads on.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, Refusal> {
        match self {
            Body::Length(0) => Ok(Step::End { used: 0 }),
            _ if input.is_empty() => Ok(Step::Starved),
            Body::Length(left) => Ok(take(left, input)),
            Body::ChunkLine => self.chunk_line(input),
            Body::Chunk(left) => {
                let step = take(left, input);
                if *left == 0 {
                    *self = Body::ChunkEnd;
                }
                Ok(step)
            }
            Body::ChunkEnd => match input {
                [b'\r'] => Ok(Step::Starved),
                [b'\r', b'\n', ..] => {
                    *self = Body::ChunkLine;
                    Ok(Step::Data { used: 2, data: &[] })
                }
                _ => Err(Refusal::Malformed),
            },
            Body::Trailers => trailers(input),
        }
    }

    fn chunk_line<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, Refusal> {
        // httparse takes a line without a number for the last chunk.
        if !input[0].is_ascii_hexdigit() {
            return Err(Refusal::Malformed);
        }
        match httparse::parse_chunk_size(input) {
            Ok(Status::Complete((used, size))) if used <= MAX_CHUNK_LINE => {
                *self = match size {
                    0 => Body::Trailers,
                    _ => Body::Chunk(size),
                };
                Ok(Step::Data { used, data: &[] })
            }
            Ok(Status::Partial) if input.len() < MAX_CHUNK_LINE => Ok(Step::Starved),
            _ => Err(Refusal::Malformed),
        }
    }
}

fn take<'a>(left: &mut u64, input: &'a [u8]) -> Step<'a> {
    let used = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *left -= used as u64;
    Step::Data { used, data: &input[..used] }
}

fn trailers(input: &[u8]) -> Result<Step<'_>, Refusal> {
    let mut fields = [EMPTY_HEADER; MAX_TRAILERS];
    match httparse::parse_headers(input, &mut fields) {
        Ok(Status::Complete((used, _))) => Ok(Step::End { used }),
        Ok(Status::Partial) if input.len() <= MAX_HEAD => Ok(Step::Starved),
        Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => Err(Refusal::HeadTooLarge),
        Err(_) => Err(Refusal::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body in `input` and what is left behind it, if `input` arrives in two
    /// parts.
    fn read(framing: Framing, input: &[u8], split: usize) -> Result<(Vec<u8>, &[u8]), Refusal> {
        let mut body = Body::new(framing);
        let mut found = Vec::new();
        let mut read = 0;
        let mut end = split;
        loop {
            match body.step(&input[read..end])? {
                Step::Data { used, data } => {
                    read += used;
                    found.extend_from_slice(data);
                }
                Step::Starved if end < input.len() => end = input.len(),
                Step::Starved => panic!("the body has no end: {body:?}"),
                Step::End { used } => return Ok((found, &input[read + used..])),
            }
        }
    }

    #[test]
    fn chunks_are_read_however_they_are_split() {
        let input = b"5\r\nhello\r\n00A;name=\"v\"\r\n, streams!\r\n0\r\nTrailer: x\r\n\r\nGET";
        for split in 0..=input.len() {
            let (body, rest) = read(Framing::Chunked, input, split).unwrap();
            assert_eq!(body, b"hello, streams!", "split at {split}");
            assert_eq!(rest, b"GET", "split at {split}");
        }
    }

    #[test]
    fn a_length_is_read_to_its_last_byte() {
        for split in 0..=8 {
            let (body, rest) = read(Framing::Length(5), b"helloGET", split).unwrap();
            assert_eq!((&body[..], rest), (&b"hello"[..], &b"GET"[..]), "split at {split}");
        }
        assert_eq!(read(Framing::Length(0), b"GET", 0), Ok((Vec::new(), &b"GET"[..])));
    }

    #[test]
    fn broken_chunks_are_refused() {
        let long = format!("1;{}\r\n", "x".repeat(MAX_CHUNK_LINE));
        for input in
            ["\r\n", ";\r\n", "g\r\n", "-1\r\n", "0x1\r\n", "11111111111111111\r\n", "1\r\nab\r\n", "1\r\na\n", &long]
        {
            for split in 0..=input.len() {
                let result = read(Framing::Chunked, input.as_bytes(), split);
                assert_eq!(result, Err(Refusal::Malformed), "{input:?} split at {split}");
            }
        }
    }

    #[test]
    fn trailers_are_bounded() {
        let input = format!("0\r\n{}\r\n", "a: b\r\n".repeat(MAX_TRAILERS + 1));
        assert_eq!(read(Framing::Chunked, input.as_bytes(), 1), Err(Refusal::HeadTooLarge));
        let input = format!("0\r\nX: {}", "x".repeat(MAX_HEAD));
        assert_eq!(read(Framing::Chunked, input.as_bytes(), 1), Err(Refusal::HeadTooLarge));
    }
}
