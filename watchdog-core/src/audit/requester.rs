//! Who sends a request, as the layers around a handler tell each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Actor, Client};

/// Who sends a request and from where, as it comes to be known while the request is served.
///
/// Whoever records requests puts one into the extensions of each. Whoever recognises the user, a
/// session layer or a middleware of the application, fills it in; the last one to do so counts. So
/// neither has to know the other, and a clone is the same place.
#[derive(Clone, Debug, Default)]
pub struct Requester {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    actor: Option<Actor>,
    client: Option<Client>,
}

impl Requester {
    /// A requester of whom nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says who it is. Only what was authenticated belongs here.
    pub fn set_actor(&self, actor: Actor) {
        self.known().actor = Some(actor);
    }

    /// Says from where the request came. Only who knows which proxies to believe should.
    pub fn set_client(&self, client: Client) {
        self.known().client = Some(client);
    }

    /// Who it is, when somebody has said so.
    pub fn actor(&self) -> Option<Actor> {
        self.known().actor.clone()
    }

    /// From where the request came, when somebody has said so.
    pub fn client(&self) -> Option<Client> {
        self.known().client.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_the_same_place_and_the_last_word_counts() {
        let requester = Requester::new();
        let seen = requester.clone();
        assert_eq!((seen.actor(), seen.client()), (None, None));
        requester.set_actor(Actor::user("alice"));
        requester.set_actor(Actor::user("bob"));
        requester.set_client(Client::new(None, Some("curl".into())));
        assert_eq!(seen.actor(), Some(Actor::user("bob")));
        assert_eq!(seen.client().and_then(|client| client.user_agent).as_deref(), Some("curl"));
    }
}
