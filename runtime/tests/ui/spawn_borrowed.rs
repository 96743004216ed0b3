// A task may outlive its starter, so it can not borrow from it.

#[bourn::main]
async fn main() {
    let numbers = vec![1, 2, 3];
    let borrowed = &numbers;
    bourn::spawn(async move { borrowed.len() });
}
