package wire

import "time"

// UTC writes an instant for people, as refusals and journals do: in RFC 3339 and in
// UTC. Instants are Unix seconds in all that is signed, hashed or stored.
func UTC(at int64) string { return time.Unix(at, 0).UTC().Format(time.RFC3339) }
