//! Two nodes, each calling the other, over a network that cuts; what the shell does is scripted by a seed.

use crate::clock::Moment;
use crate::id::{ActorId, Key, Life, NodeId, Placement};
use crate::limits::{SETTLE_WINDOW, STREAM_CREDIT, WINDOW_PACKETS, WORK_WINDOW_MAX};
use crate::node::core::link::{
    Acks, Answered, Arrival, Begin, Delivery, Demand, ItemSent, Link, Party, Patience, Sent, StreamId, Taken, Ticket,
};
use crate::wire::bytes::List;
use crate::wire::frame::Batch;
use crate::wire::packet::{Answer, CallFault, Executed, Flags, Outcome, Request, Settle, Work};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// A call's token: whom it comes from, and which of that node's calls it is.
pub(super) type Token = u64;

#[derive(Debug, PartialEq)]
enum End {
    Told,
    Value,
    Failed(Executed),
}

#[derive(Debug)]
struct Call {
    stream: usize,
    tell: bool,
    streaming: bool,
    ticket: Option<Ticket>,
    begun: u32,
    taken_back: Option<Executed>,
    end: Option<End>,
    items: VecDeque<usize>,
    next_item: u64,
}

struct Running {
    call: u64,
    items: Option<u64>,
}

struct Node {
    link: Link<Token>,
    /// Open streams, each with a name that no other had.
    streams: Vec<(usize, StreamId)>,
    stream_names: usize,
    calls: BTreeMap<Token, Call>,
    /// Those that wait.
    open: BTreeSet<Token>,
    /// Those with items to take.
    with_items: BTreeSet<Token>,
    next: Token,
    /// As a host: what has arrived, by the caller's stream, and what runs.
    mailboxes: BTreeMap<usize, VecDeque<(Arrival, Token)>>,
    last_arrived: BTreeMap<usize, Token>,
    running: Vec<Running>,
    withheld: bool,
}

/// One session: what is on its way to each end, and whether each end still believes in it.
struct Pipe {
    id: u64,
    ways: [VecDeque<Vec<u8>>; 2],
    open: [bool; 2],
}

pub(super) struct World {
    random: u64,
    now: Moment,
    nodes: [Node; 2],
    pipes: Vec<Pipe>,
    sessions: u64,
    quiet: bool,
    pub(super) cuts: usize,
    pub(super) unreachable: usize,
    pub(super) history: Vec<(u64, usize, u64)>,
}

impl Node {
    fn never_sent(&mut self, token: Token) {
        let call = self.calls.get_mut(&token).unwrap();
        assert!(call.ticket.take().is_some() && call.begun == 0, "I4: what waited never left");
        call.end = Some(End::Failed(Executed::No));
        self.open.remove(&token);
    }
}

fn party(index: usize) -> Party {
    Party { node: NodeId([index as u8; 32]), life: Life(index as u64 + 1) }
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let node = |index: usize| Node {
            link: Link::new(Moment(0), party(index), party(1 - index)),
            streams: Vec::new(),
            stream_names: 0,
            calls: BTreeMap::new(),
            open: BTreeSet::new(),
            with_items: BTreeSet::new(),
            next: 1,
            mailboxes: BTreeMap::new(),
            last_arrived: BTreeMap::new(),
            running: Vec::new(),
            withheld: false,
        };
        Self {
            random: seed,
            now: Moment(0),
            nodes: [node(0), node(1)],
            pipes: Vec::new(),
            sessions: 0,
            quiet: false,
            cuts: 0,
            unreachable: 0,
            history: Vec::new(),
        }
    }

    pub(super) fn calls(&self) -> usize {
        self.nodes.iter().map(|node| node.calls.len()).sum()
    }

    /// splitmix64
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    pub(super) fn step(&mut self) {
        let who = self.below(2);
        match self.below(40) {
            0..10 => self.call(who),
            10..12 => self.cancel(who),
            12..18 => self.begin(who),
            18..23 => self.answer(who),
            23..25 => self.take_item(who),
            25..29 => self.send(who),
            29..35 => self.deliver(who),
            35 => self.dial(who),
            36 if self.below(3) == 0 => self.close_one(who),
            36 => self.notice_closed(who),
            37 if self.below(6) == 0 => self.cut(),
            38 if self.below(4) == 0 => self.withhold(who),
            39 if self.below(200) == 0 => self.pass(Duration::from_secs(6)),
            _ => {
                let pause = self.below(8_000_000) as u64;
                self.pass(Duration::from_nanos(pause));
            }
        }
        self.check();
    }

    fn call(&mut self, who: usize) {
        let index = self.below(4).min(self.nodes[who].streams.len());
        let node = &mut self.nodes[who];
        if index == node.streams.len() {
            node.stream_names += 1;
            node.streams.push((node.stream_names, node.link.open_stream()));
        }
        let stream = node.streams[index];
        let burst = if self.below(20) == 0 { 300 } else { 1 + self.below(3) };
        for _ in 0..burst {
            let kind = self.below(4);
            let size = if self.below(30) == 0 { self.below(60_000) } else { self.below(100) };
            let patience = if self.below(3) == 0 { Patience::Waits } else { Patience::Fails };
            self.call_one(who, stream, kind, size, patience);
        }
    }

    fn call_one(&mut self, who: usize, (stream, id): (usize, StreamId), kind: usize, size: usize, patience: Patience) {
        let now = self.now;
        let node = &mut self.nodes[who];
        let token = node.next;
        node.next += 1;
        let flags = [Flags::ASK, Flags::TELL, Flags::STREAM, Flags::ASK][kind];
        let mut packet = Vec::new();
        let request = Request {
            flags,
            stream: 0,
            time_left: None,
            placement: Placement(1),
            actor: ActorId { life: Life(9), serial: stream as u64 },
            method: Key(token),
            retries: 0,
            caller: None,
            chain: List::EMPTY,
            refs: List::EMPTY,
            body: &vec![0; size],
        };
        request.encode(&mut packet);
        let (tell, streaming) = (flags.has(Flags::TELL), flags.has(Flags::STREAM));
        let mut call = Call {
            stream,
            tell,
            streaming,
            ticket: None,
            begun: 0,
            taken_back: None,
            end: None,
            items: VecDeque::new(),
            next_item: 0,
        };
        match node.link.send(now, id, &mut packet, Demand { token, deadline: None, patience }) {
            Sent::Asked { ticket, .. } | Sent::Waiting(ticket) => call.ticket = Some(ticket),
            Sent::Told(told) => {
                assert!(tell && told == token);
                call.end = Some(End::Told);
            }
            Sent::Unreachable(_) => call.end = Some(End::Failed(Executed::No)),
            Sent::Ended(_) => panic!("the link has not ended"),
        }
        if call.ticket.is_some() {
            node.open.insert(token);
        }
        node.calls.insert(token, call);
    }

    /// Closes a stream.
    fn close_one(&mut self, who: usize) {
        let count = self.nodes[who].streams.len();
        if count == 0 {
            return;
        }
        let index = self.below(count);
        let node = &mut self.nodes[who];
        let (_, id) = node.streams.swap_remove(index);
        let called = node.link.close_stream(id);
        assert!(called.is_sorted_by_key(|called| called.order));
        called.into_iter().for_each(|called| node.never_sent(called.token));
    }

    fn cancel(&mut self, who: usize) {
        let count = self.nodes[who].open.len();
        if count == 0 {
            return;
        }
        let pick = self.below(count);
        let token = *self.nodes[who].open.iter().nth(pick).unwrap();
        self.nodes[who].open.remove(&token);
        let node = &mut self.nodes[who];
        let call = node.calls.get_mut(&token).unwrap();
        call.taken_back = match node.link.cancel(call.ticket.take().unwrap()) {
            Taken::Unsent(taken) => {
                assert_eq!((taken, call.begun), (token, 0), "I4: what never left has not begun");
                Some(Executed::No)
            }
            Taken::Cancelled(taken) => {
                assert!(taken == token && !call.tell);
                Some(Executed::Maybe)
            }
            Taken::Gone => panic!("a ticket holds until its call has ended"),
        };
    }

    fn begin(&mut self, who: usize) {
        let ready: Vec<_> =
            self.nodes[who].mailboxes.iter().filter(|(_, queue)| !queue.is_empty()).map(|(s, _)| *s).collect();
        if ready.is_empty() {
            return;
        }
        let stream = ready[self.below(ready.len())];
        let (refuse, share) = (self.below(20) == 0, 1 + self.below(400) as u32);
        let now = self.now;
        let [node, peer] = self.both(who);
        let (arrival, token) = node.mailboxes.get_mut(&stream).unwrap().pop_front().unwrap();
        if refuse && !arrival.tell {
            let mut packet = Vec::new();
            let outcome = Outcome::Error { executed: Executed::No, fault: CallFault::NotHere };
            Settle::Answer(Answer { call: arrival.call, outcome }).encode(&mut packet);
            if node.link.answer(now, arrival.call, &packet) == Answered::Gone {
                assert_eq!(node.link.begin(now, arrival, share).begin, Begin::Gone);
            }
            return;
        }
        let begun = node.link.begin(now, arrival, share);
        assert_eq!(begun.closes, node.mailboxes[&stream].is_empty(), "one mailbox a stream");
        let call = peer.calls.get_mut(&token).unwrap();
        if begun.begin == Begin::Run {
            call.begun += 1;
            assert_eq!(call.begun, 1, "I2");
            assert!(call.end != Some(End::Failed(Executed::No)), "I4: call {token} begins after No");
            assert!(call.taken_back != Some(Executed::No), "I4: call {token} begins though it never left");
            if !arrival.tell {
                node.running.push(Running { call: arrival.call, items: call.streaming.then_some(0) });
            }
        }
    }

    fn answer(&mut self, who: usize) {
        let count = self.nodes[who].running.len();
        if count == 0 {
            return;
        }
        let (index, more, size) = (self.below(count), self.below(4) > 0, self.below(3_000));
        let now = self.now;
        let node = &mut self.nodes[who];
        let running = &mut node.running[index];
        let (call, body, mut packet) = (running.call, &vec![1; size][..], Vec::new());
        if let Some(item) = running.items.as_mut().filter(|_| more) {
            Settle::Item { call, index: *item, refs: List::EMPTY, body }.encode(&mut packet);
            match node.link.send_item(call, &packet) {
                ItemSent::Sent => *item += 1,
                ItemSent::Full => {}
                ItemSent::Gone => panic!("the call is not answered"),
            }
            return;
        }
        Settle::Answer(Answer { call, outcome: Outcome::Value { refs: List::EMPTY, body } }).encode(&mut packet);
        assert_eq!(node.link.answer(now, call, &packet), Answered::Sent);
        assert_eq!(node.link.answer(now, call, &packet), Answered::Gone, "one answer a call");
        node.running.swap_remove(index);
    }

    fn take_item(&mut self, who: usize) {
        let node = &mut self.nodes[who];
        for token in std::mem::take(&mut node.with_items) {
            let call = node.calls.get_mut(&token).unwrap();
            if let (Some(ticket), Some(length)) = (call.ticket, call.items.pop_front()) {
                node.link.took_item(ticket, length);
                if !call.items.is_empty() {
                    node.with_items.insert(token);
                }
            }
        }
    }

    fn both(&mut self, who: usize) -> [&mut Node; 2] {
        let [first, second] = &mut self.nodes;
        if who == 0 { [first, second] } else { [second, first] }
    }

    fn send(&mut self, who: usize) {
        let mut batch = Vec::new();
        let woken = self.nodes[who].link.wake_sender(self.now);
        while let Some(id) = self.nodes[who].link.take_batch(self.now, &mut batch) {
            assert!(batch.len() <= crate::limits::BATCH_BYTES);
            let pipe = self.pipes.iter_mut().find(|pipe| pipe.id == id).unwrap();
            if pipe.open[1 - who] {
                pipe.ways[1 - who].push_back(batch.clone());
            }
            if self.below(3) == 0 {
                return;
            }
        }
        assert!(!self.nodes[who].link.wake_sender(self.now), "taken all, woken before: {woken}");
    }

    fn deliver(&mut self, who: usize) {
        let full: Vec<_> = (0..self.pipes.len()).filter(|index| !self.pipes[*index].ways[who].is_empty()).collect();
        if full.is_empty() {
            return;
        }
        let index = full[self.below(full.len())];
        let batch = self.pipes[index].ways[who].pop_front().unwrap();
        let (id, now) = (self.pipes[index].id, self.now);
        if !self.pipes[index].open[who] {
            return;
        }
        self.history.push((now.0, who, batch.len() as u64));
        let mut deliveries = Vec::new();
        let link = &mut self.nodes[who].link;
        match Batch::decode(&batch).unwrap() {
            Batch::Hello(hello) => match link.hello(now, id, &hello, &mut deliveries) {
                Ok(Some(replaced)) => self.close(who, replaced),
                Ok(None) => {}
                Err(_) => self.close(who, id),
            },
            Batch::Packets { .. } => link.receive(now, id, &batch, &mut deliveries).unwrap(),
        }
        deliveries.into_iter().for_each(|delivery| self.apply(who, delivery, &batch));
    }

    fn apply(&mut self, who: usize, delivery: Delivery<Token>, batch: &[u8]) {
        let [node, _] = self.both(who);
        match delivery {
            Delivery::Request { arrival, at } => {
                let Ok(Work::Request(request)) = Work::decode(at.of(batch)) else { panic!("no request") };
                let (stream, token) = (request.actor.serial as usize, request.method.0);
                let last = node.last_arrived.entry(stream).or_default();
                assert!(token > *last, "I1, I3: call {token} of stream {stream} after {last}");
                *last = token;
                let mailbox = node.mailboxes.entry(stream).or_default();
                assert_eq!(arrival.opens, mailbox.is_empty(), "one mailbox a stream");
                mailbox.push_back((arrival, token));
                assert!(mailbox.len() <= STREAM_CREDIT as usize, "I5");
            }
            Delivery::Answer { token, at, .. } => {
                let Ok(Settle::Answer(answer)) = Settle::decode(at.of(batch)) else { panic!("no answer") };
                let call = node.calls.get_mut(&token).unwrap();
                let end = match answer.outcome {
                    Outcome::Error { executed: Executed::No, .. } => {
                        assert_eq!(call.begun, 0, "I4");
                        End::Failed(Executed::No)
                    }
                    _ => End::Value,
                };
                node.open.remove(&token);
                assert!(call.ticket.take().is_some(), "an answer comes only to who waits");
                assert_eq!(call.end.replace(end), None, "I6: one end a call");
            }
            Delivery::Item { token, at } => {
                let Ok(Settle::Item { index, .. }) = Settle::decode(at.of(batch)) else { panic!("no item") };
                let call = node.calls.get_mut(&token).unwrap();
                assert_eq!(index, call.next_item);
                call.next_item += 1;
                call.items.push_back(at.of(batch).len());
                node.with_items.insert(token);
                assert!(call.items.len() <= 16, "I5");
            }
            Delivery::Told { token } => {
                let call = node.calls.get_mut(&token).unwrap();
                node.open.remove(&token);
                assert!(call.tell && call.ticket.take().is_some());
                assert_eq!(call.end.replace(End::Told), None);
            }
            Delivery::Failed { token, executed, .. } => {
                let call = node.calls.get_mut(&token).unwrap();
                node.open.remove(&token);
                assert!(call.ticket.take().is_some());
                assert!(executed != Executed::No || call.begun == 0, "I4");
                assert_eq!(call.end.replace(End::Failed(executed)), None);
                self.unreachable += 1;
            }
            Delivery::Room { .. } | Delivery::Cancel { .. } => {}
            Delivery::Work { at } => {
                assert!(matches!(Work::decode(at.of(batch)), Ok(Work::Request(_))), "cancelled early")
            }
            Delivery::Settle { at } => {
                let late = Settle::decode(at.of(batch));
                assert!(matches!(late, Ok(Settle::Answer(_) | Settle::Item { .. })), "{late:?} was never sent");
            }
        }
    }

    fn dial(&mut self, who: usize) {
        let wants = self.nodes[who].link.wants_session();
        // Now and then a session is replaced while it works: rekeying.
        if !wants && (self.quiet || self.below(10) > 0) {
            return;
        }
        self.sessions += 1;
        let id = self.sessions;
        if let Ok(replaced) = self.nodes[who].link.dialled(self.now, id) {
            self.pipes.push(Pipe { id, ways: Default::default(), open: [true, true] });
            replaced.into_iter().for_each(|replaced| self.close(who, replaced));
        }
    }

    fn close(&mut self, who: usize, id: u64) {
        self.pipes.iter_mut().filter(|pipe| pipe.id == id).for_each(|pipe| pipe.open[who] = false);
    }

    /// An end learns that the other has closed: after it has read what came before.
    fn notice_closed(&mut self, who: usize) {
        for pipe in &mut self.pipes {
            if !pipe.open[1 - who] && pipe.ways[who].is_empty() {
                pipe.open[who] = false;
                self.nodes[who].link.closed(self.now, pipe.id);
            }
        }
        self.pipes.retain(|pipe| pipe.open.contains(&true));
    }

    /// The network loses the ends of what is on its way.
    fn cut(&mut self) {
        if self.pipes.is_empty() {
            return;
        }
        self.cuts += 1;
        let index = self.below(self.pipes.len());
        for way in 0..2 {
            let left = self.pipes[index].ways[way].len();
            let kept = self.below(left + 1);
            self.pipes[index].ways[way].truncate(kept);
        }
        let id = self.pipes[index].id;
        self.pipes[index].open = [false, false];
        (0..2).for_each(|who| self.nodes[who].link.closed(self.now, id));
    }

    fn withhold(&mut self, who: usize) {
        let node = &mut self.nodes[who];
        node.withheld = !node.withheld && !self.quiet;
        node.link.set_acks(if node.withheld { Acks::Withheld } else { Acks::Given });
    }

    fn pass(&mut self, pause: Duration) {
        self.now = self.now + pause;
        for who in 0..2 {
            let mut deliveries = Vec::new();
            if self.nodes[who].link.deadline().is_some_and(|deadline| deadline <= self.now)
                && let Some(mute) = self.nodes[who].link.tick(self.now, &mut deliveries)
            {
                self.close(who, mute);
            }
            deliveries.into_iter().for_each(|delivery| self.apply(who, delivery, &[]));
        }
    }

    fn check(&self) {
        for node in &self.nodes {
            let load = node.link.load();
            assert!(load.work.1 <= WORK_WINDOW_MAX && load.work.0 <= WINDOW_PACKETS, "I5: {load:?}");
            assert!(load.settle.1 <= SETTLE_WINDOW && load.settle.0 <= WINDOW_PACKETS, "I5: {load:?}");
            let queued: usize = node.mailboxes.values().map(VecDeque::len).sum();
            assert_eq!(load.queued, queued as u64);
        }
    }

    /// No more calls and no more cuts: everything ends, and nothing is left (I6).
    pub(super) fn finish(&mut self) {
        self.quiet = true;
        (0..2).for_each(|who| {
            self.nodes[who].withheld = true;
            self.withhold(who);
        });
        for round in 0..20_000 {
            for who in 0..2 {
                (0..8).for_each(|_| self.begin(who));
                (0..8).for_each(|_| self.answer(who));
                self.take_item(who);
                self.dial(who);
                self.send(who);
                (0..4).for_each(|_| self.deliver(who));
                self.notice_closed(who);
            }
            self.pass(Duration::from_millis(1));
            self.check();
            let idle = self.nodes.iter().all(|node| {
                let load = node.link.load();
                (load.asks, load.serving, load.queued, load.streams_out) == (0, 0, 0, 0)
                    && load.work.0 + load.settle.0 == 0
            });
            if idle {
                break;
            }
            assert!(round < 19_999, "I6: {:?}", self.nodes.each_ref().map(|node| node.link.load()));
        }
        self.all_ended();
        for node in &mut self.nodes {
            let deadline = node.link.deadline();
            assert_eq!(deadline, None, "an idle link waits for nothing");
        }
    }

    fn all_ended(&self) {
        for (token, call) in self.nodes.iter().flat_map(|node| &node.calls) {
            assert!(call.end.is_some() || call.taken_back.is_some(), "I6: call {token} {call:?}");
            if call.end == Some(End::Value) {
                assert_eq!(call.begun, 1);
            }
            if call.end == Some(End::Told) {
                assert!(call.begun <= 1, "stream {}", call.stream);
            }
        }
    }

    /// Node 1's life ends: node 0's asks all end, and what has not begun there never does.
    pub(super) fn end_of_life(&mut self) {
        let mut deliveries = Vec::new();
        let link = &mut self.nodes[0].link;
        let (called, _) = link.end(&mut deliveries);
        assert!(called.is_sorted_by_key(|called| called.order));
        for called in called {
            self.nodes[0].never_sent(called.token);
        }
        for delivery in deliveries {
            if !matches!(delivery, Delivery::Cancel { .. }) {
                self.apply(0, delivery, &[]);
            }
        }
        self.nodes[1].calls.clear();
        self.nodes[1].link = Link::new(self.now, party(1), party(0));
        let arrivals: Vec<_> = self.nodes[0].mailboxes.values_mut().flat_map(std::mem::take).collect();
        for (arrival, _) in arrivals {
            let expected = if arrival.tell { Begin::Run } else { Begin::Gone };
            assert_eq!(self.nodes[0].link.begin(self.now, arrival, 1).begin, expected);
        }
        self.all_ended();
        let load = self.nodes[0].link.load();
        assert_eq!((load.asks, load.serving, load.queued), (0, 0, 0));
        assert_eq!(self.nodes[0].link.deadline(), None);
    }
}
