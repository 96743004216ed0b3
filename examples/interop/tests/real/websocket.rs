//! WebSocket, driven by Python's websockets: a server of async-tungstenite's own, and
//! upgrades from HTTP/1.1: of hyper alone, and of hyper and axum through bourn's server.

use std::process::Command;

use crate::harness::{Server, on_every_setup, ours, run};

const CONVERSATION: &str = r#"
import asyncio, os, sys, websockets

async def talk(number):
    async with websockets.connect(sys.argv[1], max_size=None, ping_interval=None) as socket:
        text = f"grüße {number}"
        data = os.urandom(3_000_000)
        for message in [text, data, "", b"", text]:
            await socket.send(message)
            assert await socket.recv() == message, "what comes back is what was sent"
        await asyncio.wait_for(await socket.ping(b"there?"), 20)
        # A message in several frames is one message.
        await socket.send(iter(["a", "b", "c"]))
        assert await socket.recv() == "abc"
        # Many on their way at once keep their order.
        async def send():
            for index in range(1000):
                await socket.send(str(index))
        sending = asyncio.create_task(send())
        for index in range(1000):
            assert await socket.recv() == str(index)
        await sending
    assert socket.close_code == 1000, socket.close_code

async def main():
    await asyncio.gather(*(talk(number) for number in range(8)))

asyncio.run(main())
"#;

fn converse(program: &str, args: &[&str], path: &str) {
    on_every_setup(|setup| {
        let server = Server::start(ours(program, setup).args(args));
        let url = format!("ws://{}{path}", server.addr);
        // Debian's Python, which has Debian's package.
        run(Command::new("/usr/bin/python3").args(["-c", CONVERSATION, &url]));
    });
}

#[test]
fn python_talks_to_a_websocket_server() {
    converse(env!("CARGO_BIN_EXE_websocket"), &[], "/");
}

#[test]
fn python_upgrades_from_http() {
    converse(env!("CARGO_BIN_EXE_hello"), &[], "/chat");
}

#[test]
fn python_upgrades_through_the_server() {
    converse(env!("CARGO_BIN_EXE_served"), &["hyper"], "/chat");
    converse(env!("CARGO_BIN_EXE_axum"), &[], "/chat");
}
