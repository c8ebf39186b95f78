use mobula::task;

fn of_another_error(error: &std::num::ParseIntError) -> bool {
    error.to_string().is_empty()
}

fn says_nothing(_: &mobula::Failure) {}

#[task(retry_on = of_another_error)]
fn other() -> mobula::Result<u64> {
    Ok(0)
}

#[task(retry_on = says_nothing)]
fn nothing() -> mobula::Result<u64> {
    Ok(0)
}

fn main() {}
