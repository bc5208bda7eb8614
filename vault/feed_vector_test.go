package vault_test

import (
	"fmt"
	"slices"
	"testing"

	"latchkey/vault"
)

type feedVector struct {
	Name      string  `json:"name"`
	Expect    string  `json:"expect"`
	Vault     string  `json:"vault"`
	Cursor    int     `json:"cursor"`
	Max       int     `json:"max"`
	Positions []int64 `json:"positions"`
	Next      int     `json:"next"`
}

// follow shows entries of the history to a client's vault as it was before it
// was shown any: it has made its first chunks, and accepted nothing.
func (h *history) follow(name string, positions []int64) error {
	for _, c := range h.owners {
		if c.name != name {
			continue
		}
		first := h.moments[name][0]
		s := *c
		w := *h.world
		s.w, s.rows = &w, first.rows
		var err error
		if s.o, err = vault.NewOwner(c.cfg); err != nil {
			return err
		}
		if err := s.o.Load(rowsOf(s.rows)); err != nil {
			return err
		}
		s.advance()
		for _, p := range positions {
			if _, err := s.observe(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestFeedVectors holds the feed to spec/api.md, and shows that a vault follows
// it, and does not follow one with a hole.
func TestFeedVectors(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var made []feedVector
	for _, c := range h.owners {
		for _, at := range []struct{ cursor, most int }{{0, 100}, {0, 3}, {3, 3}, {100, 3}} {
			v := feedVector{Name: fmt.Sprintf("%s from %d, at most %d", c.name, at.cursor, at.most), Expect: "ok", Vault: c.name, Cursor: at.cursor, Max: at.most}
			v.Positions, v.Next = h.feed.From(c.id, at.cursor, at.most)
			v.Positions = append([]int64{}, v.Positions...)
			made = append(made, v)
		}
		all, _ := h.feed.From(c.id, 0, 100)
		i := slices.IndexFunc(all, func(p int64) bool {
			e, err := vault.ParseEntry(h.entries[p])
			return err == nil && e.Lock != nil && slices.Contains(e.Lock.Agreement.Parties[0], h.owners[0].id)
		})
		made = append(made, feedVector{
			Name: c.name + ": its lock is left out", Expect: "error: entry between is missing", Vault: c.name, Positions: slices.Delete(slices.Clone(all), i, i+1),
		})
	}
	checkLog(t, "feed.json", "What vaults are shown of the log of log.json, and in which order.",
		made, func(v feedVector) (string, string) { return v.Name, v.Expect }, func(v feedVector) error {
			if v.Max == 0 {
				return h.follow(v.Vault, v.Positions)
			}
			for _, c := range h.owners {
				if c.name != v.Vault {
					continue
				}
				if p, next := h.feed.From(c.id, v.Cursor, v.Max); !slices.Equal(p, v.Positions) || next != v.Next {
					return fmt.Errorf("got %v, next %d", p, next)
				}
				if v.Cursor == 0 {
					return h.follow(v.Vault, v.Positions)
				}
			}
			return nil
		})
}
