-- session.time.v1: what time it is there.
return { 'time', now }
