package feed

import (
	"context"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/view"
	"github.com/dirpost/dirpost/schema"
)

// overlap is how far a poll looks back behind the newest change it knows: changes may become visible later than their time.
const overlap = 5 * time.Second

// generalized is how a server writes modifyTimestamp.
const generalized = "20060102150405Z"

// poll asks for everything, then again and again for what was modified since, and now and then for the list of all
// entries, which no longer has those that were deleted.
func (f *Feed) poll(ctx context.Context, o view.Origin) error {
	since, err := f.load(ctx, o)
	if err != nil {
		return err
	}
	f.up(o)
	tick := time.NewTicker(f.opts.Every)
	defer tick.Stop()
	listed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		edit := f.view.Edit()
		if since, err = f.changed(ctx, edit, since); err != nil {
			return err
		}
		if time.Since(listed) >= f.opts.List {
			if err := f.list(ctx, edit); err != nil {
				return err
			}
			listed = time.Now()
		}
		edit.Commit(o, nil)
	}
}

// load reads all entries and returns the time of the newest change.
func (f *Feed) load(ctx context.Context, o view.Origin) (time.Time, error) {
	edit := f.view.Edit()
	edit.Refresh()
	newest, err := f.read(ctx, edit, filter, time.Time{})
	if err != nil {
		return newest, err
	}
	edit.RemoveOthers()
	if edit.Len() == 0 {
		return newest, errEmpty
	}
	edit.Commit(o, nil)
	return newest, nil
}

// changed reads what was modified since a time, and returns the time of the newest change. An entry that no longer has a
// class of ours is not among it; the list finds out.
func (f *Feed) changed(ctx context.Context, edit *view.Edit, since time.Time) (time.Time, error) {
	if since.IsZero() {
		return f.read(ctx, edit, filter, since)
	}
	after := "(" + schema.AttrModifyTimestamp + ">=" + since.Add(-overlap).UTC().Format(generalized) + ")"
	return f.read(ctx, edit, client.And(after, filter), since)
}

func (f *Feed) read(ctx context.Context, edit *view.Edit, filter string, newest time.Time) (time.Time, error) {
	attrs := append([]string{schema.AttrModifyTimestamp}, view.Attributes...)
	entries, err := f.client.Search(ctx, f.opts.Base, ldap.ScopeWholeSubtree, filter, attrs...)
	if err != nil {
		return newest, err
	}
	for _, e := range entries {
		id, err := id(e)
		if err != nil {
			return newest, err
		}
		edit.Put(id, e)
		if t, err := time.Parse("20060102150405Z0700", e.GetEqualFoldAttributeValue(schema.AttrModifyTimestamp)); err == nil && t.After(newest) {
			newest = t
		}
	}
	return newest, nil
}

// list takes out what is not there any more.
func (f *Feed) list(ctx context.Context, edit *view.Edit) error {
	entries, err := f.client.Search(ctx, f.opts.Base, ldap.ScopeWholeSubtree, filter, schema.AttrEntryUUID)
	if err != nil {
		return err
	}
	edit.Refresh()
	for _, e := range entries {
		id, err := id(e)
		if err != nil {
			return err
		}
		edit.Keep(id)
	}
	edit.RemoveOthers()
	return nil
}
