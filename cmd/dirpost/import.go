package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/ldif"
)

// An importing adds the entries of a file: many at once, as if one after the other.
type importing struct {
	client  *client.Client
	records *ldif.Reader
	local   bool            // the embedded directory takes entries as they were
	server  map[string]bool // what else must be left out
	skip    bool

	added, skipped int
}

// check reads the whole file, and notices an entry that is there twice.
func (i *importing) check() (n int, err error) {
	lines := map[string]int{}
	for ; ; n++ {
		r, err := i.records.Next()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		key := strings.ToLower(r.DN)
		if first, ok := lines[key]; ok {
			return n, fmt.Errorf("line %d: %s is on line %d already", r.Line, r.DN, first)
		}
		lines[key] = r.Line
	}
}

// A written entry is one that was sent, with what came of it.
type written struct {
	*ldif.Record
	err error
}

// run reads and adds. What is refused may have needed an entry that was on its way at the same time, so it is tried
// again alone, in the order of the file, when all others are done; what is refused then ends the import.
func (i *importing) run(ctx context.Context) error {
	i.server = serverAttributes()
	for {
		refused, fault := i.together(ctx)
		for _, r := range refused {
			if err := i.count(r, i.add(ctx, r)); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(fault, io.EOF):
			return nil
		case fault != nil:
			return fault
		}
	}
}

// together adds entries by all writers until one is refused. It returns those that were, in the order of the file, and
// what ended the reading, if anything did.
func (i *importing) together(ctx context.Context) (refused []*ldif.Record, fault error) {
	todo, results := make(chan *ldif.Record), make(chan written, writers)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for r := range todo {
				results <- written{r, i.add(ctx, r)}
			}
		})
	}
	flying := 0
	take := func() {
		w := <-results
		flying--
		if i.count(w.Record, w.err) != nil {
			refused = append(refused, w.Record)
		}
	}
	for len(refused) == 0 {
		r, err := i.records.Next()
		if err != nil {
			fault = err
			break
		}
		if flying == writers {
			take()
		}
		todo <- r
		flying++
	}
	close(todo)
	for flying > 0 {
		take()
	}
	group.Wait()
	slices.SortFunc(refused, func(a, b *ldif.Record) int { return a.Line - b.Line })
	return refused, fault
}

// count notes what became of an entry, and names it in the error.
func (i *importing) count(r *ldif.Record, err error) error {
	switch {
	case err == nil:
		i.added++
	case i.skip && errors.Is(err, directory.ErrExists):
		i.skipped++
	default:
		return fmt.Errorf("line %d: %s: %w", r.Line, r.DN, err)
	}
	return nil
}
