//! redis: a pipeline of 100,000 commands and a subscription, over a connection of bourn.
//!
//! The crate asks for the feature `smol-comp` or `tokio-comp`. With the first, its
//! time-outs are served by smol's reactor, whatever runs the tasks; connections are made
//! here.

use std::error::Error;
use std::time::Duration;

use bourn::net::TcpStream;
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, RedisConnectionInfo, pipe};

const COMMANDS: i64 = 100_000;
const MESSAGES: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).expect("the address of a server");
    interop::run(async {
        let settings = RedisConnectionInfo::default();
        // By default, 500 ms for each answer; a long pipeline is one answer.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        let stream = TcpStream::connect(&addr).await?;
        let (mut redis, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
        bourn::spawn(driver);

        let () = pipe().del("count").query_async(&mut redis).await?;
        let mut pipeline = pipe();
        for _ in 0..COMMANDS {
            pipeline.incr("count", 1);
        }
        let counts: Vec<i64> = pipeline.query_async(&mut redis).await?;
        assert!(counts.into_iter().eq(1..=COMMANDS), "each answer belongs to its command");

        let mut subscription = PubSub::new(&settings, TcpStream::connect(&addr).await?).await?;
        subscription.subscribe("news").await?;
        let publish = bourn::spawn(async move {
            for number in 0..MESSAGES {
                let heard: usize =
                    redis::cmd("PUBLISH").arg("news").arg(number).query_async(&mut redis).await.expect("it is told");
                assert_eq!(heard, 1, "somebody subscribes");
            }
        });
        let news: Vec<_> = subscription.on_message().take(MESSAGES).collect().await;
        for (number, message) in news.iter().enumerate() {
            assert_eq!(message.get_payload::<usize>()?, number);
        }
        publish.await?;
        println!("{COMMANDS} commands, {MESSAGES} messages");
        Ok(())
    })
}
