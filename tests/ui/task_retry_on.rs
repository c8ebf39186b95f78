use mobula::task;

fn is_transient(error: &mobula::Failure) -> bool {
    error.to_string().contains("busy")
}

#[task(retries = 3, retry_on = is_transient)]
fn succeeds() -> u64 {
    0
}

#[task(retry_on = "is_transient")]
fn quoted() -> mobula::Result<u64> {
    Ok(0)
}

#[task(retry_on)]
fn bare() -> mobula::Result<u64> {
    Ok(0)
}

#[task(retry_on = is_transient())]
fn called() -> mobula::Result<u64> {
    Ok(0)
}

fn main() {}
