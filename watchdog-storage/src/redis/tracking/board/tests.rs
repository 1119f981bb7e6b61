use super::*;
use crate::redis::tracking::wire::Address;

/// Writes down what it is told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn add(&self, what: &str) {
        self.0.lock().unwrap().push(what.to_owned());
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Invalidations for Told {
    fn changed(&self, key: &[u8]) {
        self.add(&String::from_utf8_lossy(key));
    }

    fn lost(&self) {
        self.add("lost");
    }

    fn restored(&self) {
        self.add("restored");
    }
}

fn board() -> (Arc<Board>, Arc<Told>) {
    let told = Arc::new(Told::default());
    let to: Arc<dyn Invalidations> = Arc::clone(&told) as _;
    (Arc::new(Board::new(to)), told)
}

fn view(ranges: &[(u16, u16, &str)]) -> View {
    View::of(ranges, |id| -> Address { (format!("host-{id}"), 1) })
}

fn ids(owners: Option<Vec<Owner>>) -> Option<Vec<String>> {
    owners.map(|owners| owners.into_iter().map(|owner| owner.id).collect())
}

#[test]
fn one_server_stands_until_it_falls() {
    let (board, told) = board();
    let now = Instant::now();
    assert_eq!(board.confirmed_at(), None);
    let standing = board.stand("", None, now).unwrap();
    assert_eq!(board.confirmed_at(), Some(now));
    board.changed(b"key");
    let later = now + Duration::from_millis(250);
    standing.confirm(later);
    assert_eq!(board.confirmed_at(), Some(later));
    board.flushed();
    assert_eq!(board.confirmed_at(), Some(later));
    drop(standing);
    assert_eq!(board.confirmed_at(), None);
    assert_eq!(told.taken(), ["restored", "key", "lost", "restored", "lost"]);
}

#[test]
fn a_cluster_stands_when_all_of_it_does() {
    let (board, told) = board();
    let whole = view(&[(0, 99, "a"), (100, 16_383, "b")]);
    let now = Instant::now();
    assert_eq!(ids(board.missing()), None);
    let a = board.stand("a", Some(whole.clone()), now + Duration::from_millis(1)).unwrap();
    assert_eq!(told.taken(), [] as [&str; 0]);
    assert_eq!(ids(board.missing()), Some(vec!["b".to_owned()]));
    assert!(board.stand("a", Some(whole.clone()), now).is_none(), "under another address");
    let b = board.stand("b", Some(whole), now).unwrap();
    assert_eq!(told.taken(), ["restored"]);
    assert_eq!(ids(board.missing()), Some(vec![]));
    // The least that is known counts.
    assert_eq!(board.confirmed_at(), Some(now));
    // A third primary took some slots: nobody hears of them.
    let moved = view(&[(0, 50, "a"), (51, 99, "c"), (100, 16_383, "b")]);
    a.see(moved.clone());
    assert_eq!(told.taken(), ["lost"]);
    assert_eq!(board.confirmed_at(), None);
    assert_eq!(ids(board.missing()), Some(vec!["c".to_owned()]));
    let c = board.stand("c", Some(moved.clone()), now).unwrap();
    assert_eq!(told.taken(), ["restored"]);
    b.see(moved);
    // One goes whose slots others have by now: what was read from it may be wrong all the same.
    let without = view(&[(0, 99, "c"), (100, 16_383, "b")]);
    c.see(without.clone());
    b.see(without.clone());
    a.see(without);
    assert_eq!(told.taken(), [] as [&str; 0]);
    drop(a);
    assert_eq!(told.taken(), ["lost", "restored"]);
    drop(b);
    drop(c);
    assert_eq!(told.taken(), ["lost"]);
}

#[test]
fn a_hint_counts_only_while_nothing_stands() {
    let (board, _) = board();
    board.hint(view(&[(0, 16_383, "x")]));
    assert_eq!(ids(board.missing()), Some(vec!["x".to_owned()]));
    let whole = view(&[(0, 16_383, "a")]);
    let _a = board.stand("a", Some(whole), Instant::now()).unwrap();
    assert_eq!(ids(board.missing()), Some(vec![]));
}

#[test]
fn after_the_end_nothing_is_told() {
    let (board, told) = board();
    let standing = board.stand("", None, Instant::now()).unwrap();
    board.close();
    standing.confirm(Instant::now());
    board.changed(b"key");
    board.flushed();
    drop(standing);
    assert_eq!(told.taken(), ["restored", "lost"]);
    assert_eq!(board.confirmed_at(), None);
}
