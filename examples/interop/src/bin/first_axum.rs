use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use bourn::http::Http;
use bourn::server::Server;
use hyper_util::service::TowerToHyperService;

#[bourn::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new()
        .route("/", get(async || "Hello, world!\n"))
        .route("/double/{number}", get(async |Path(number): Path<i64>| Json(number * 2)));
    let server = Server::new().bind("127.0.0.1:8000").await?;
    let report = server.serve(Http::new().handler(TowerToHyperService::new(app))).await?;
    println!("{report}");
    Ok(())
}
