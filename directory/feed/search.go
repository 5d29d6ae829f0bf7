package feed

import (
	"context"
	"errors"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/view"
)

// allChanges is the value of the persistent search control (draft-ietf-ldapext-psearch-03 section 4): additions, deletions,
// modifications and renames, changes only, with a note of what each was.
const allChanges = "\x30\x09\x02\x01\x0f\x01\x01\xff\x01\x01\xff"

// The note that comes with a change, and its value for a deletion.
const (
	changeControl = "2.16.840.1.113730.3.4.7"
	deletion      = 2
)

// search is persistent search: changes as they happen, but not those that happened before. So it first begins to listen,
// then reads everything, and each time anew. No server says when it has begun to listen; so what changed meanwhile is asked
// for once more a little later. What stopped being ours is found by the list only.
func (f *Feed) search(ctx context.Context, cancel context.CancelFunc, l *ldap.Conn, o view.Origin) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	events, ended := make(chan event), make(chan error, 1)
	beside.Go(func() { ended <- f.listen(ctx, l, events) })
	since, err := f.load(ctx, o)
	if err != nil {
		return err
	}
	f.up(o)
	beside.Go(func() { f.beat(ctx, cancel, l) })
	tick := time.NewTicker(f.opts.List)
	defer tick.Stop()
	once := time.NewTimer(f.opts.Every)
	defer once.Stop()
	for {
		edit := f.view.Edit()
		select {
		case err := <-ended:
			return err
		case e := <-events:
			if err := e.apply(edit); err != nil {
				return err
			}
		case <-once.C:
			if _, err := f.changed(ctx, edit, since); err != nil {
				return err
			}
		case <-tick.C:
			if err := f.list(ctx, edit); err != nil {
				return err
			}
		}
		edit.Commit(o, nil)
	}
}

// An event is one change.
type event struct {
	entry   *ldap.Entry
	deleted bool
}

// listen passes changes on until there are no more.
func (f *Feed) listen(ctx context.Context, l *ldap.Conn, events chan<- event) error {
	req, err := f.request(filter, ldap.NewControlString(psearchControl, true, allChanges))
	if err != nil {
		return err
	}
	response := l.SearchAsync(ctx, req, 64)
	for response.Next() {
		if response.Referral() != "" {
			return errors.New("the server refers to another one")
		}
		if response.Entry() == nil {
			continue
		}
		entry, err := f.client.Entry(response.Entry())
		if err != nil {
			return err
		}
		select {
		case events <- event{entry, isDeletion(response.Controls())}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := response.Err(); err != nil {
		return err
	}
	return errEnded
}

// isDeletion reads the note of a change.
func isDeletion(controls []ldap.Control) bool {
	note, ok := ldap.FindControl(controls, changeControl).(*ldap.ControlString)
	if !ok {
		return false
	}
	p, err := ber.DecodePacketErr([]byte(note.ControlValue))
	if err != nil || len(p.Children) == 0 {
		return false
	}
	kind, _ := p.Children[0].Value.(int64)
	return kind == deletion
}

func (e event) apply(edit *view.Edit) error {
	id, err := id(e.entry)
	switch {
	case e.deleted && err != nil:
		edit.RemoveName(e.entry.DN) // some servers send the name only
		return nil
	case err != nil:
		return err
	case e.deleted:
		edit.Remove(id)
		return nil
	}
	edit.Put(id, e.entry)
	return nil
}
