// The runtime is entered on one thread; the guard can not leave it.

fn main() {
    let runtime = bourn::runtime::Runtime::new().unwrap();
    let guard = runtime.enter();
    std::thread::spawn(move || drop(guard));
}
