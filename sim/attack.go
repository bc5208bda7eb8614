package sim

// attack lets a client whose TEE is broken try something on the escrow, with
// all its secrets and none of its vault's scruples.
func (w *World) attack(c *Client, arg int) {}

// lie lets a client's host tell its own vault something that is not so.
func (w *World) lie(c *Client, arg int) {}
