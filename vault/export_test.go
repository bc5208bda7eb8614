package vault

import "latchkey/wire"

// States of things, in the words of spec/chunk.md, for the traces.

// ChunkState names the state of a chunk in the escrow's books, with its owner
// and epoch.
func (e *Escrow) ChunkState(id wire.ChunkID) (state string, owner wire.VaultID, epoch uint32) {
	c := e.chunks.at(id)
	switch {
	case c == nil:
		return "none", owner, 0
	case c.state == chunkSwept:
		state = "swept"
	case c.state == chunkClaimed:
		state = "claimed"
	case c.instance != nil:
		state = "locked"
	default:
		state = "free"
	}
	return state, *c.owner, c.epoch
}

// InstanceState names the state of an instance in the escrow's books.
func (e *Escrow) InstanceState(id wire.InstanceID) string {
	in := e.instances[id]
	if _, over := e.ended[id]; over {
		return "settled"
	}
	switch {
	case in == nil:
		return "none"
	case in.closed:
		return "closed"
	case in.open:
		return "open"
	}
	return "locked"
}

// MailState tells whether the escrow keeps the r of a step for a vault.
func (e *Escrow) MailState(to wire.VaultID, step Index) string {
	if _, ok := e.mail[mailRow(to, step)]; ok {
		return "left"
	}
	return "none"
}

// ChunkState names the state of a chunk in an owner's books.
func (o *Owner) ChunkState(id wire.ChunkID) string {
	c := o.chunks[id]
	free := wire.InstanceID{}
	switch {
	case c == nil:
		return "unknown"
	case c.Swept:
		return "swept"
	case c.Done:
		return "done"
	case c.Whole != nil:
		return "whole"
	case c.Lost:
		return "lost"
	case c.Step != 0:
		return "given"
	case !o.owns(c) && c.Instance == free:
		return "followed"
	case !o.owns(c) && len(c.Share) > 0 && c.ShareAt == c.Epoch:
		return "handed"
	case !o.owns(c):
		return "awaited"
	case c.Instance != free:
		return "locked"
	case c.Claimed:
		return "claimed"
	case c.Claim:
		if _, here := o.released[id]; here {
			return "ordered, b here"
		}
		return "ordered"
	}
	if _, ok := o.pledged(id); ok {
		return "pledged"
	}
	return "held"
}

// InstanceState names the state of an instance in an owner's books.
func (o *Owner) InstanceState(id wire.InstanceID) string {
	in := o.running[id]
	switch {
	case in == nil:
		return "none"
	case in.Aborted:
		return "aborted"
	case in.Broken:
		return "broken"
	case in.Settled:
		return "settled"
	case in.Closed:
		return "closed"
	case in.Opened:
		return "open"
	}
	return "locked"
}

// StepOf returns the entry that gave a chunk to this vault, while its r is
// missing.
func (o *Owner) StepOf(id wire.ChunkID) Index { return o.chunks[id].Step }
