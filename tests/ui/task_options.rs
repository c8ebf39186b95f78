use mobula::task;

#[task(retry = 3)]
fn unknown() {}

#[task(retries = -1)]
fn negative() {}

#[task(retries = 1.5)]
fn halved() {}

#[task(retries)]
fn bare() {}

#[task(cpus = -0.5)]
fn owed() {}

#[task(cpus = 0.00001)]
fn fine() {}

#[task(gpus = 1e30)]
fn greedy() {}

#[task(gpus = "one")]
fn quoted() {}

#[task(memory = 1.5)]
fn parted() {}

#[task(memory = 9_000_000_000_000_000)]
fn vast() {}

#[task(priority = 3_000_000_000)]
fn urgent() {}

#[task(priority = -3_000_000_000)]
fn idle() {}

#[task(name = "a name")]
fn spaced() {}

#[task(cpus = 1, cpus = 2)]
fn twice() {}

#[task(plain)]
fn plain() -> u64 {
    0
}

#[task(plain = true)]
fn valued() -> mobula::Result<u64> {
    Ok(0)
}

fn main() {}
