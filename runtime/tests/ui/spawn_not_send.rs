// A task that may run on any thread can not keep an `Rc` across an await.

#[bourn::main]
async fn main() {
    let shared = std::rc::Rc::new(1);
    bourn::spawn(async move {
        bourn::task::yield_now().await;
        drop(shared);
    });
}
