package head

import "slices"

// known is what the keys of one group have said of signatures, by all that it
// depends on.
type known map[saidOf]bool

type saidOf struct {
	key       identity
	text, sig string
}

// Remembering returns the same group, whose keys compute no signature a second
// time. What they say is the same. It is for a process that plays many parties, all
// of whom are shown the same heads: for the simulation, and arch/ sees to it that
// nobody else remembers. It grows without bound, and is not for two goroutines.
func (g Group) Remembering() Group {
	k := known{}
	g.Log.known, g.Witnesses = &k, slices.Clone(g.Witnesses)
	for i := range g.Witnesses {
		g.Witnesses[i].known = &k
	}
	return g
}

func (k known) verify(id identity, text, sig []byte) bool {
	id.known = nil
	at := saidOf{id, string(text), string(sig)}
	ok, said := k[at]
	if !said {
		ok = id.Verify(text, sig)
		k[at] = ok
	}
	return ok
}
