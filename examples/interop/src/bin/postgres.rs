//! tokio-postgres, without its feature `runtime`: 1,000,000 rows streamed, and a query
//! that is cancelled.

use std::error::Error;
use std::time::Duration;

use bourn::net::TcpStream;
use futures_util::TryStreamExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

const ROWS: i32 = 1_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().nth(1).expect("the address of a server");
    interop::run(async {
        let client = connect(&addr).await?;

        let rows = client.query_raw("SELECT generate_series(1, $1::int4)", [ROWS]).await?;
        let (count, sum) = rows
            .try_fold((0, 0), |(count, sum), row| async move { Ok((count + 1, sum + i64::from(row.get::<_, i32>(0)))) })
            .await?;
        assert_eq!((count, sum), (ROWS, i64::from(ROWS) * (i64::from(ROWS) + 1) / 2));

        let cancel = client.cancel_token();
        let stop = async {
            bourn::time::sleep(Duration::from_millis(100)).await;
            cancel.cancel_query_raw(TcpStream::connect(&addr).await?, NoTls).await?;
            Ok::<_, Box<dyn Error>>(())
        };
        let (slept, stopped) = futures_util::future::join(client.execute("SELECT pg_sleep(60)", &[]), stop).await;
        stopped?;
        assert_eq!(slept.expect_err("it is cancelled").code(), Some(&SqlState::QUERY_CANCELED));
        // The connection lives on.
        let one: i32 = client.query_one("SELECT 1", &[]).await?.get(0);
        println!("{count} rows, one query cancelled, {one} afterwards");
        Ok(())
    })
}

async fn connect(addr: &str) -> Result<Client, Box<dyn Error>> {
    let mut config = Config::new();
    config.user("postgres");
    let (client, connection) = config.connect_raw(TcpStream::connect(addr).await?, NoTls).await?;
    bourn::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("the connection ended: {error}");
        }
    });
    Ok(client)
}
