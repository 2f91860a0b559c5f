/// Templates' macros that call themselves, values that lie in each other and grammars are walked by
/// recursion; all are bounded, and this much stack holds them. Only what is used becomes real
/// memory.
const STACK_BYTES: usize = 64 << 20;

/// Runs `work` where deep recursion finds room. An error is no thread to be had, or a panic.
pub fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|e| format!("the system gives no thread for it ({e})"))?;
        thread.join().map_err(|_| "it broke its interpreter".to_string())
    })
}
