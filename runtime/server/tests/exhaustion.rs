//! A server that runs out of descriptors neither spins nor ends. Each test is a process of
//! its own, whose clients are another one: the limit is for the server alone.

mod harness;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::{ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bourn::server::{Connection, Control, Drain, Limits, Server, WhenFull};

use harness::{again, alone, multi_thread, until};

/// The limit of descriptors, and how many clients there are.
const DESCRIPTORS: u64 = 64;
const CLIENTS: usize = 200;

/// A soft limit that leaves nobody a descriptor, for some are open already.
const NONE: u64 = 5;

/// Where the server of the test is, in the process with its clients.
const SERVER: &str = "BOURN_TEST_SERVER";

/// The processor's time that this process has used, looked at without a descriptor more.
struct Cpu(File);

impl Cpu {
    fn new() -> Cpu {
        Cpu(File::open("/proc/self/stat").expect("procfs"))
    }

    /// From the clock ticks of proc_pid_stat(5), of which there are 100 in a second.
    fn used(&self) -> Duration {
        let mut stat = [0; 1024];
        let length = self.0.read_at(&mut stat, 0).expect("procfs");
        let stat = String::from_utf8_lossy(&stat[..length]);
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        let fields: Vec<_> = fields.split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }
}

/// One request of a connection, answered when all of it has come.
async fn answer(connection: Connection) -> std::io::Result<()> {
    connection.read_exact(&mut [0]).await?;
    connection.write_all(b"!").await
}

/// Two hundred clients, which first connect and then wait for a word from the test, one at a
/// time: "serve" sends a request and reads the answer; "done" ends.
fn clients(addr: SocketAddr) {
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(addr).expect("the queue is long")).collect();
    println!("connected");
    for line in std::io::stdin().lines() {
        match line.expect("a line").as_str() {
            // In the order in which they connected, each closed when it has its answer.
            "serve" => {
                for mut client in clients.drain(..) {
                    client.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
                    client.write_all(b"?").expect("room");
                    client.read_exact(&mut [0]).expect("an answer");
                }
                println!("served");
            }
            // Who is refused and who is not.
            "count" => {
                let mut refused = 0;
                for client in &mut clients {
                    client.set_read_timeout(Some(Duration::from_millis(1))).expect("an option");
                    let read = loop {
                        match client.read(&mut [0]) {
                            // The process was stopped for a while (signal(7)).
                            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                            read => break read,
                        }
                    };
                    refused +=
                        usize::from(!matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock));
                }
                println!("{refused} refused");
            }
            _ => return,
        }
    }
}

/// Starts the clients' process; the sender tells it what to do, the receiver hears it.
fn crowd(name: &str, addr: SocketAddr) -> (mpsc::Receiver<String>, impl FnMut(&str)) {
    let mut command = again(name);
    let child = command.env(SERVER, addr.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("a process for the clients");
    let (mut input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            if tell.send(line.expect("a line")).is_err() {
                return;
            }
        }
        assert!(child.wait().expect("it ends").success());
    });
    (told, move |word: &str| writeln!(input, "{word}").expect("it reads"))
}

/// What the crowd says next, if it is of the test and not of its harness.
async fn hear(told: &mpsc::Receiver<String>, what: &str) -> String {
    let mut heard = String::new();
    until(what, || {
        told.try_iter().any(|line| {
            let found = line.contains(what);
            heard = line;
            found
        })
    })
    .await;
    heard
}

fn in_its_own_process(name: &str, test: impl AsyncFnOnce()) {
    alone(name, || match std::env::var(SERVER) {
        Ok(addr) => clients(addr.parse().expect("an address")),
        Err(_) => multi_thread().block_on(test()),
    });
}

async fn bind(policy: WhenFull) -> (Server, SocketAddr) {
    let limits = Limits::none().when_full(policy);
    let server = Server::new().signals(false).limits(limits).bind("127.0.0.1:0").await.expect("a port is free");
    let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
    (server, addr)
}

/// A second in which nobody goes is quiet: few calls of accept(2) fail, and the processor rests.
async fn quiet(control: &Control, cpu: &Cpu) {
    let (before, burnt, start) = (control.stats(), cpu.used(), Instant::now());
    bourn::time::sleep(Duration::from_secs(1)).await;
    let (after, burnt, lasted) = (control.stats(), cpu.used() - burnt, start.elapsed());
    let calls = (after.exhausted + after.accepted) - (before.exhausted + before.accepted);
    let rate = calls as f64 / lasted.as_secs_f64();
    println!("{rate:.0} accept calls a second while exhausted, {burnt:?} of CPU in {lasted:?}");
    assert!(rate < 200.0, "{rate} accept calls a second");
    assert!(burnt < lasted / 5, "{burnt:?} of CPU in {lasted:?}");
}

fn limit(descriptors: u64) {
    rlimit::setrlimit(rlimit::Resource::NOFILE, descriptors, DESCRIPTORS).expect("it is lowered");
}

#[test]
fn clients_wait_and_all_are_served() {
    in_its_own_process("clients_wait_and_all_are_served", async || {
        let (mut server, addr) = bind(WhenFull::Wait).await;
        let (told, mut tell) = crowd("clients_wait_and_all_are_served", addr);
        let (control, cpu) = (server.control(), Cpu::new());
        limit(DESCRIPTORS);
        let served = bourn::spawn(server.serve(answer));
        hear(&told, "connected").await;
        until("the descriptors are used up", || control.stats().exhausted > 0).await;

        quiet(&control, &cpu).await;
        assert!(control.stats().open as u64 > DESCRIPTORS / 2, "{:?}", control.stats());

        tell("serve");
        hear(&told, "served").await;
        until("all have ended", || control.stats().finished == CLIENTS as u64).await;
        tell("done");
        control.drain();
        let report = served.await.expect("no panic").expect("it serves");
        assert_eq!((report.stats.accepted, report.stats.shed_exhausted, report.stats.failed), (CLIENTS as u64, 0, 0));
    });
}

#[test]
fn service_resumes_when_a_descriptor_is_free() {
    in_its_own_process("service_resumes_when_a_descriptor_is_free", async || {
        let (mut server, addr) = bind(WhenFull::Wait).await;
        let (told, mut tell) = crowd("service_resumes_when_a_descriptor_is_free", addr);
        let control = server.control();
        limit(DESCRIPTORS);
        // No sockets of ours: what closes them tells nobody.
        let foreign = [(); 5].map(|()| File::open("/dev/null").expect("a descriptor"));
        let _served = bourn::spawn(server.serve(answer));
        hear(&told, "connected").await;
        let mut took = Vec::new();
        for descriptor in foreign {
            // The loop waits.
            let exhausted = control.stats().exhausted;
            until("the descriptors are used up", || control.stats().exhausted > exhausted + 1).await;
            let open = control.stats().open;
            let start = Instant::now();
            drop(descriptor);
            until("the next one is accepted", || control.stats().open > open).await;
            took.push(start.elapsed());
        }
        println!("accepted so long after a descriptor was free: {took:?}");
        // Each time a try had just failed, so each is a whole pause of 60 ms, and what a busy machine adds.
        took.sort_unstable();
        assert!(took[0] < Duration::from_millis(180), "{took:?}");
        tell("done");
    });
}

#[test]
fn the_rest_is_shed_at_once() {
    in_its_own_process("the_rest_is_shed_at_once", async || {
        let (mut server, addr) = bind(WhenFull::Shed).await;
        let (told, mut tell) = crowd("the_rest_is_shed_at_once", addr);
        let (control, cpu) = (server.control(), Cpu::new());
        limit(DESCRIPTORS);
        let served = bourn::spawn(server.serve(answer));
        hear(&told, "connected").await;
        until("all are accepted or shed", || {
            let stats = control.stats();
            stats.accepted + stats.shed_exhausted == CLIENTS as u64
        })
        .await;
        let stats = control.stats();
        assert!(stats.shed_exhausted >= CLIENTS as u64 - DESCRIPTORS, "{stats:?}");
        assert_eq!(stats.shed_exhausted as usize + stats.open, CLIENTS);
        tell("count");
        let refused = hear(&told, "refused").await;
        assert_eq!(refused, format!("{} refused", stats.shed_exhausted));

        // Quiet, once nobody asks.
        let before = control.stats().exhausted;
        quiet(&control, &cpu).await;
        assert_eq!(control.stats().exhausted, before);
        tell("done");
        until("the clients are gone", || control.stats().open == 0).await;
        let client = bourn::net::TcpStream::connect(addr).await.expect("a server");
        client.write_all(b"?").await.expect("room");
        client.read_exact(&mut [0]).await.expect("an answer");
        control.drain();
        served.await.expect("no panic").expect("it serves");
    });
}

#[test]
fn the_reserve_that_was_lost_is_taken_again() {
    in_its_own_process("the_reserve_that_was_lost_is_taken_again", async || {
        let limits = Limits::none().when_full(WhenFull::Shed);
        let server = Server::new().signals(false).limits(limits).shards(4).bind("127.0.0.1:0").await;
        let mut server = server.expect("a port is free");
        let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
        let (told, mut tell) = crowd("the_reserve_that_was_lost_is_taken_again", addr);
        let (control, cpu) = (server.control(), Cpu::new());
        // What is given up does not come back, as when another thread takes it first.
        limit(NONE);
        let served = bourn::spawn(server.serve(answer));
        hear(&told, "connected").await;
        until("all loops found that out", || control.stats().exhausted > 8).await;
        quiet(&control, &cpu).await;
        assert_eq!(control.stats().shed_exhausted, 0);
        limit(DESCRIPTORS);
        until("all are accepted or shed", || {
            let stats = control.stats();
            stats.accepted + stats.shed_exhausted == CLIENTS as u64
        })
        .await;
        tell("done");
        control.drain();
        served.await.expect("no panic").expect("it serves");
    });
}

/// The kernel says `EMFILE` of an empty queue, too.
#[test]
fn where_nobody_comes_nothing_is_asked_for_and_a_drain_is_a_success() {
    in_its_own_process("where_nobody_comes_nothing_is_asked_for_and_a_drain_is_a_success", async || {
        let (mut server, addr) = bind(WhenFull::Wait).await;
        let control = server.control();
        let client = bourn::net::TcpStream::connect(addr).await.expect("it listens");
        // Room for one more, which is the lowest that is free.
        let one_more = File::open("/dev/null").expect("a descriptor").as_raw_fd();
        limit(u64::try_from(one_more).expect("a descriptor") + 1);
        let served = bourn::spawn(server.serve(answer));
        until("the only one is there", || control.stats().open == 1).await;
        // What looks at the process may have one open for a moment.
        let lacks = || File::open("/dev/null").is_err_and(|error| error.raw_os_error() == Some(libc::EMFILE));
        until("no descriptor is left", lacks).await;
        let before = control.stats().exhausted;
        bourn::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(control.stats().exhausted, before, "asked for, with nobody there");
        control.drain();
        client.write_all(b"?").await.expect("room");
        client.read_exact(&mut [0]).await.expect("an answer");
        let report = served.await.expect("no panic").expect("it serves");
        assert!(report.unemptied.is_empty(), "{report}");
        limit(DESCRIPTORS);
    });
}

#[test]
fn a_queue_that_could_not_be_emptied_is_no_success() {
    in_its_own_process("a_queue_that_could_not_be_emptied_is_no_success", async || {
        let (server, addr) = bind(WhenFull::Wait).await;
        let (told, mut tell) = crowd("a_queue_that_could_not_be_emptied_is_no_success", addr);
        let mut server = server.drain(Drain::new().deadline(Duration::from_millis(300)));
        let control = server.control();
        limit(NONE);
        let served = bourn::spawn(server.serve(answer));
        hear(&told, "connected").await;
        until("there are no descriptors", || control.stats().exhausted > 0).await;
        control.drain();
        let report = served.await.expect("no panic").expect("it serves");
        assert_eq!((report.stats.accepted, report.unfinished.len()), (0, 0));
        assert_eq!(report.unemptied.iter().map(|addr| addr.tcp()).collect::<Vec<_>>(), [Some(addr)]);
        assert!(report.to_string().contains(&format!("the queue at {addr} was not emptied")), "{report}");
        assert_eq!(format!("{:?}", report.exit_code()), format!("{:?}", ExitCode::FAILURE));
        limit(DESCRIPTORS);
        tell("done");
    });
}
