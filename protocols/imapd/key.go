package imapd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/message"
)

// Bounds on the keys of one search.
const (
	maxKeys  = 1000
	maxDepth = 100
)

// A candidate is a message that a search looks at. What is read of it is read once.
type candidate struct {
	storage.Message
	seq    uint32
	reader *fetcher
	opened *text
}

func (c *candidate) text() (*text, error) {
	if c.opened != nil {
		return c.opened, nil
	}
	var err error
	c.opened, err = c.reader.open(c.UID)
	return c.opened, err
}

func (c *candidate) close() {
	if c.opened != nil {
		c.opened.close()
		c.opened = nil
	}
}

// A key is a search key, compiled: a test of one message. All of its tests have to hold; those that read nothing come
// first.
type key struct {
	facts []func(*candidate) bool
	texts []func(*candidate) (bool, error)
}

// reads reports whether the key may have to read messages.
func (k key) reads() bool { return len(k.texts) > 0 }

func (k key) fits(c *candidate) (bool, error) {
	for _, test := range k.facts {
		if !test(c) {
			return false, nil
		}
	}
	for _, test := range k.texts {
		if yes, err := test(c); !yes || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (k *key) fact(test func(*candidate) bool)          { k.facts = append(k.facts, test) }
func (k *key) text(test func(*candidate) (bool, error)) { k.texts = append(k.texts, test) }

// compile makes a key of the criteria that the engine has read. All lists in them are of keys that must all hold.
func (s *session) compile(c *imap.SearchCriteria, depth int) (key, error) {
	var k key
	if depth > maxDepth || len(c.Not)+len(c.Or)+len(c.Flag)+len(c.NotFlag)+len(c.Header)+len(c.Body)+len(c.Text) > maxKeys {
		return k, errComplex
	}
	if err := s.compileSets(&k, c); err != nil {
		return k, err
	}
	if err := s.compileFlags(&k, c); err != nil {
		return k, err
	}
	compileDates(&k, c)
	if c.Larger > 0 {
		k.fact(func(m *candidate) bool { return m.WireSize > c.Larger })
	}
	if c.Smaller > 0 {
		k.fact(func(m *candidate) bool { return m.WireSize < c.Smaller })
	}
	compileTexts(&k, c)
	for i := range c.Not {
		sub, err := s.compile(&c.Not[i], depth+1)
		if err != nil {
			return k, err
		}
		k.add(sub.reads(), func(m *candidate) (bool, error) {
			yes, err := sub.fits(m)
			return !yes, err
		})
	}
	for i := range c.Or {
		a, err := s.compile(&c.Or[i][0], depth+1)
		if err != nil {
			return k, err
		}
		b, err := s.compile(&c.Or[i][1], depth+1)
		if err != nil {
			return k, err
		}
		k.add(a.reads() || b.reads(), func(m *candidate) (bool, error) {
			if yes, err := a.fits(m); yes || err != nil {
				return yes, err
			}
			return b.fits(m)
		})
	}
	return k, nil
}

// add adds a test that reads, or one that is known not to.
func (k *key) add(reads bool, test func(*candidate) (bool, error)) {
	if reads {
		k.text(test)
		return
	}
	k.fact(func(m *candidate) bool {
		yes, _ := test(m) // errors come of reading only
		return yes
	})
}

func (s *session) compileSets(k *key, c *imap.SearchCriteria) error {
	sets := make([]imap.NumSet, 0, len(c.SeqNum)+len(c.UID))
	for _, set := range c.SeqNum {
		sets = append(sets, set)
	}
	for _, set := range c.UID {
		sets = append(sets, set)
	}
	if len(sets) > maxKeys {
		return errComplex
	}
	for _, set := range sets {
		if imap.IsSearchRes(set) {
			saved := inSaved(s.saved)
			k.fact(func(m *candidate) bool { return saved[m.UID] })
			continue
		}
		runs, ok := placesOf(set, s.box.client.view)
		if !ok {
			return &imap.Error{Type: imap.StatusResponseTypeBad, Text: "no such message number"}
		}
		k.fact(func(m *candidate) bool {
			_, in := slices.BinarySearchFunc(runs, int(m.seq)-1, func(p places, at int) int {
				switch {
				case at < p.from:
					return 1
				case at >= p.to:
					return -1
				}
				return 0
			})
			return in
		})
	}
	return nil
}

// compileFlags takes the keys about flags. Nothing is recent.
func (s *session) compileFlags(k *key, c *imap.SearchCriteria) error {
	table := keywordsOf(s.box.mailbox.View())
	for i, names := range [][]imap.Flag{c.Flag, c.NotFlag} {
		want := i == 0
		for _, name := range names {
			if strings.EqualFold(string(name), `\Recent`) {
				k.fact(func(*candidate) bool { return !want })
				continue
			}
			set, err := parseFlags([]imap.Flag{name})
			if err != nil {
				return err
			}
			keywords := table.bits(set.keywords)
			k.fact(func(m *candidate) bool {
				return (table.system(m.Flags, m.Keywords)&set.bits != 0 || m.Keywords&keywords != 0) == want
			})
		}
	}
	return nil
}

// compileDates takes the keys about dates. They compare days: INTERNALDATE in UTC, as it is shown, and the Date field
// in the zone it names (RFC 9051 section 6.4.4 disregards time and zone).
func compileDates(k *key, c *imap.SearchCriteria) {
	within := func(t, since, before time.Time) bool {
		day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		return (since.IsZero() || !day.Before(since)) && (before.IsZero() || day.Before(before))
	}
	if !c.Since.IsZero() || !c.Before.IsZero() {
		k.fact(func(m *candidate) bool { return within(m.Date.UTC(), c.Since, c.Before) })
	}
	if !c.SentSince.IsZero() || !c.SentBefore.IsZero() {
		k.text(func(m *candidate) (bool, error) {
			h, err := m.header()
			if err != nil {
				return false, err
			}
			date, ok := message.ParseDate(h.Get("Date"))
			return ok && within(date, c.SentSince, c.SentBefore), nil
		})
	}
}

func (c *candidate) header() (message.Header, error) {
	t, err := c.text()
	if err != nil {
		return nil, err
	}
	return t.header()
}

// compileTexts takes the keys that look for strings: first those about the header, then those about all of the message.
func compileTexts(k *key, c *imap.SearchCriteria) {
	for _, field := range c.Header {
		needle := message.NewNeedle(field.Value)
		k.text(func(m *candidate) (bool, error) {
			h, err := m.header()
			if err != nil {
				return false, err
			}
			return h.Has(field.Key, needle), nil
		})
	}
	for _, words := range c.Body {
		needle := message.NewNeedle(words)
		k.text(func(m *candidate) (bool, error) { return m.bodyHas(needle) })
	}
	for _, words := range c.Text {
		needle := message.NewNeedle(words)
		k.text(func(m *candidate) (bool, error) {
			h, err := m.header()
			if err != nil || h.Holds(needle) {
				return err == nil, err
			}
			return m.bodyHas(needle)
		})
	}
}

func (c *candidate) bodyHas(n message.Needle) (bool, error) {
	t, err := c.text()
	if err != nil {
		return false, err
	}
	tree, err := t.parse()
	if err != nil {
		return false, fmt.Errorf("search message %d: %w", c.UID, err)
	}
	return tree.BodyHas(t.src, n)
}
