use bourn::http::Http;
use bourn::server::Server;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};

async fn answer(request: Request<Incoming>) -> std::io::Result<Response<String>> {
    Ok(Response::new(format!("You asked for {}\n", request.uri().path())))
}

#[bourn::main]
async fn main() -> std::io::Result<()> {
    let server = Server::new().bind("127.0.0.1:8000").await?;
    let report = server.serve(Http::new().handler(service_fn(answer))).await?;
    println!("{report}");
    Ok(())
}
