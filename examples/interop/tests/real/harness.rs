//! Starting programs, ours and others, with a bound on how long they may take.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// The longest that any program may take, on a machine that is busy with others.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a program of ours runs on.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub backend: &'static str,
    /// None: the runtime for one thread.
    pub workers: Option<&'static str>,
}

/// Calls `test` for each backend and flavour that everything has to work on.
pub fn on_every_setup(test: impl Fn(Setup)) {
    for backend in ["epoll", "poll"] {
        for workers in [None, Some("4")] {
            let setup = Setup { backend, workers };
            println!("on {setup:?}");
            let start = Instant::now();
            test(setup);
            println!("on {setup:?}: {:?}", start.elapsed());
        }
    }
}

/// A program of this package, on `setup`.
pub fn ours(path: &str, setup: Setup) -> Command {
    let mut command = Command::new(path);
    command.env("BOURN_BACKEND", setup.backend);
    if let Some(workers) = setup.workers {
        command.env("BOURN_WORKERS", workers);
    }
    command
}

/// Runs a command to its end, which has to be a good one, within [`PATIENCE`].
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let mut bounded = Command::new("timeout");
    bounded.arg("--kill-after=5").arg(PATIENCE.as_secs().to_string());
    bounded.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        bounded.env(name, value.expect("variables are only set"));
    }
    let output = bounded.output().expect("coreutils are there");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a command says.
#[track_caller]
pub fn said(command: &mut Command) -> String {
    String::from_utf8_lossy(&run(command).stdout).into_owned()
}

/// A program that runs until this is dropped, or its thread ends.
pub struct Server {
    child: Child,
    pub addr: SocketAddr,
}

impl Server {
    /// A program of ours that says where it listens.
    #[track_caller]
    pub fn start(command: &Command) -> Server {
        let mut child = mortal(command).stdout(Stdio::piped()).spawn().expect("util-linux is there");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.next().expect("the program says where it listens").expect("text");
        let addr = line.strip_prefix("listening on ").and_then(|addr| addr.parse().ok());
        // What else it says must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        Server { child, addr: addr.unwrap_or_else(|| panic!("{command:?} says {line:?}")) }
    }

    /// A program that listens at `addr` some time after its start.
    #[track_caller]
    pub fn start_at(command: &Command, addr: SocketAddr) -> Server {
        let child = mortal(command).stdout(Stdio::null()).spawn().expect("util-linux is there");
        let mut server = Server { child, addr };
        let start = Instant::now();
        while TcpStream::connect(addr).is_err() {
            let ended = server.child.try_wait().expect("a child");
            assert!(ended.is_none(), "{command:?} ended: {ended:?}");
            assert!(start.elapsed() < PATIENCE, "{command:?} does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for it to end by itself; returns whether that was a good end.
    pub fn wait(mut self) -> bool {
        self.child.wait().expect("a child").success()
    }

    pub fn signal(&self, name: &str) {
        run(Command::new("kill").args(["-s", name, &self.id().to_string()]));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command, which does not outlive the thread that starts it.
fn mortal(command: &Command) -> Command {
    let mut mortal = Command::new("setpriv");
    mortal.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        mortal.env(name, value.expect("variables are only set"));
    }
    mortal.stdin(Stdio::null());
    mortal
}

/// An address of the loopback interface where nobody listens now.
pub fn free_addr() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

/// An empty folder for one test.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a folder");
    path
}

/// A connection of std's that does not wait for ever.
pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("an option");
    stream.set_write_timeout(Some(PATIENCE)).expect("an option");
    stream
}

/// All that comes until the end.
pub fn read_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).expect("it ends well");
    all
}

/// `length` bytes that look random, the same for the same `seed` (xorshift64, Marsaglia 2003).
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_ne_bytes());
    }
    bytes.truncate(length);
    bytes
}
