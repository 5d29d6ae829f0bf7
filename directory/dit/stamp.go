package dit

import (
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/dirpost/dirpost/schema"
)

// A change number (entryCSN) is a time that no two changes share, and three fields that tell servers apart, of which
// there is one.
const (
	csnTime    = "20060102150405.000000Z"
	csnServer  = "#000000#000#000000"
	timeLayout = "20060102150405Z"
)

func parseCSN(v []byte) time.Time {
	when, _, _ := strings.Cut(string(v), "#")
	t, err := time.Parse(csnTime, when)
	if err != nil {
		return time.Time{}
	}
	return t
}

// stampNew gives a new entry what the server writes: class, identity and creation.
func (t *Tree) stampNew(r *record, structural *class, j *judge) {
	t.set(r, schema.AttrStructuralObjectClass, structural.Name())
	t.set(r, schema.AttrEntryUUID, uuid.NewString())
	t.set(r, schema.AttrCreatorsName, j.name)
	t.set(r, schema.AttrCreateTimestamp, t.opts.Now().UTC().Format(timeLayout))
}

// stamp notes who has changed an entry and when. The caller holds write.
func (t *Tree) stamp(r *record, j *judge) {
	now := t.opts.Now().UTC()
	t.set(r, schema.AttrEntryCSN, t.nextCSN().Format(csnTime)+csnServer)
	t.set(r, schema.AttrModifiersName, j.name)
	t.set(r, schema.AttrModifyTimestamp, now.Format(timeLayout))
}

// set replaces a single value; an empty one removes the attribute.
func (t *Tree) set(r *record, name, value string) {
	if value == "" {
		t.setAll(r, name, nil)
		return
	}
	t.setAll(r, name, [][]byte{[]byte(value)})
}

// setAll replaces all values; none removes the attribute.
func (t *Tree) setAll(r *record, name string, values [][]byte) {
	d := t.catalog.plain[name]
	if a := r.find(d); a != nil {
		a.values = values
		r.tidy()
		return
	}
	r.put(attribute{d, values})
}

// addValue adds a value that is not there.
func (t *Tree) addValue(r *record, name string, value []byte) {
	var values [][]byte
	if a := r.find(t.catalog.plain[name]); a != nil {
		values = a.values
	}
	t.setAll(r, name, append(values, value))
}

// nextCSN returns a time later than that of every change before, also when the clock goes backwards.
func (t *Tree) nextCSN() time.Time {
	now := t.opts.Now().UTC().Truncate(time.Microsecond)
	if !now.After(t.last) {
		now = t.last.Add(time.Microsecond)
	}
	t.last = now
	return now
}
