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

#[task(resource = "tpu")]
fn assigned() {}

#[task(resource("tpu"))]
fn unmeasured() {}

#[task(resource(tpu, 1))]
fn unquoted() {}

#[task(resource("tpu", 1, 2))]
fn measured_twice() {}

#[task(resource("tpu", "all"))]
fn measured_by_a_word() {}

#[task(resource("tpu", 0))]
fn none_of_it() {}

#[task(resource("tpu", 1), resource("fpga", 1), resource("tpu", 2))]
fn twice_the_same() {}

#[task(resource("", 1))]
fn nameless() {}

#[task(resource("gpu", 1))]
fn has_its_own() {}

#[task(label("zone"))]
fn without_a_value() {}

#[task(label("zone", 1))]
fn of_a_number() {}

#[task(label("zone", ""))]
fn of_nothing() {}

#[task(label("zone", "a"), label("zone", "b"))]
fn in_two_zones() {}

#[task(select("zone", 1))]
fn selected_by_a_number() {}

#[task(select("zone", "!"))]
fn selected_by_nothing() {}

#[task(select("zone", "in(a, b)"), label("zone", "a"))]
fn twice_of_a_zone() {}

#[task(wait_for_node = 5)]
fn waits_so_much() {}

#[task(spread = true)]
fn spread_so_much() {}

#[task(timeout = 5)]
fn without_a_unit() {}

#[task(timeout = "5 days")]
fn of_another_unit() {}

#[task(timeout = "0s")]
fn never() {}

fn main() {}
