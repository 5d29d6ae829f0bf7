package dit

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"github.com/dirpost/dirpost/schema"
)

// Bind checks a password against the entry's (RFC 4511 section 4.2, simple). The empty name with the empty password is
// anonymous. A wrong password, a name that has no entry, an entry without a password and an account that the policy has
// locked are all result 49 after the same work; the right password of an account that is not active is 53; an empty
// password with a name is 53, since many clients take its success for a proof. The notice is the policy's, for who asked
// for it, with a refusal too.
func (t *Tree) Bind(ctx context.Context, name string, password []byte) (Subject, Notice, error) {
	d, err := t.catalog.parseDN(name)
	switch {
	case err != nil:
		return Subject{}, Notice{}, err
	case len(password) > 0:
	case len(d.rdns) == 0:
		return Subject{}, Notice{}, nil
	default:
		return Subject{}, Notice{}, refuse(codeUnwilling, "unauthenticated bind (name without password) disallowed")
	}
	id, _ := t.find(d)
	v, values, err := t.proofs(id)
	if err != nil {
		return Subject{}, Notice{}, err
	}
	ok, err := t.verify(ctx, values, password)
	switch {
	case err != nil:
		return Subject{}, Notice{}, err
	case !ok && len(values) > 0:
		if err := t.noteFailure(id); err != nil {
			return Subject{}, Notice{}, err
		}
		fallthrough
	case !ok:
		return Subject{}, Notice{}, refuse(codeCredentials, "invalid credentials")
	case !v.active():
		return Subject{}, Notice{}, refuse(codeUnwilling, "the account may not log in")
	}
	return t.admit(id)
}

// proofs returns an entry, nil for none, and the stored passwords of which one opens it.
func (t *Tree) proofs(id uint32) (*view, [][]byte, error) {
	v, err := t.view(id)
	if err != nil || v == nil || !v.may(t.judge(Subject{}), passwordKey, auth) {
		return v, nil, err
	}
	p, err := t.policyOf(v)
	if err != nil || p.locked(v, t.opts.Now()) {
		return v, nil, err
	}
	return v, v.passwords(), nil
}

// active reports whether the entry may log in: an account that is disabled is so for the directory too, and only who
// knows its password is told.
func (v *view) active() bool {
	a := v.find(v.tree.catalog.plain[schema.AttrDpAccountStatus])
	return a == nil || len(a.values) == 1 && strings.EqualFold(string(a.values[0]), "active")
}

var passwordKey = strings.ToLower(schema.AttrUserPassword)

func (v *view) passwords() [][]byte {
	if a := v.find(v.tree.catalog.plain[schema.AttrUserPassword]); a != nil {
		return a.values
	}
	return nil
}

// verify reports whether the password is one of the stored ones. It takes its turn among all that hash, and a refusal
// costs as much whatever is stored.
func (t *Tree) verify(ctx context.Context, values [][]byte, password []byte) (bool, error) {
	if err := t.takeTurn(ctx); err != nil {
		return false, err
	}
	defer t.endTurn()
	if len(password) > MaxPassword {
		values, password = nil, password[:MaxPassword]
	}
	slow := false
	for _, v := range values {
		p, err := parseStored(string(v))
		if err != nil {
			t.opts.Log.WarnContext(ctx, "stored password cannot be used", "err", err)
			continue
		}
		if p.matches(password) {
			return true, nil
		}
		slow = slow || p.argon2
	}
	if !slow {
		p, err := parseStored(t.decoy)
		if err != nil {
			return false, t.fault(err)
		}
		p.matches(password)
	}
	return false, nil
}

// takeTurn waits until one more password may be hashed: each takes memory and a processor.
func (t *Tree) takeTurn(ctx context.Context) error {
	select {
	case t.hashing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return refuse(codeUnavailable, "gave up waiting for other passwords")
	}
}

func (t *Tree) endTurn() { <-t.hashing }

// hash returns the stored form of a clear password.
func (t *Tree) hash(ctx context.Context, password []byte) ([]byte, error) {
	if err := t.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer t.endTurn()
	stored, err := newStored(password)
	if err != nil {
		return nil, t.fault(err)
	}
	return []byte(stored), nil
}

// SetPassword sets the password of an entry, "" = the subject's own (RFC 3062). The old one is checked when it is given:
// not right is 53. Without a new one (nil) the server makes one up and returns it.
func (t *Tree) SetPassword(ctx context.Context, who Subject, name string, old, password []byte) (generated []byte, err error) {
	j := t.judge(who)
	if name == "" {
		name = who.DN
	}
	d, err := t.catalog.parseDN(name)
	switch {
	case !j.named:
		return nil, refuse(codeStrongerAuth, "only authenticated users may change passwords")
	case err != nil:
		return nil, refuse(codeBadSyntax, "invalid DN")
	}
	v, err := t.entry(j, d)
	if err != nil {
		return nil, err
	}
	if !v.may(j, passwordKey, add|remove) {
		return nil, t.denied(j, v)
	}
	if old != nil {
		ok, err := t.verify(ctx, v.passwords(), old)
		if err != nil {
			return nil, err
		}
		if !ok || !v.may(j, passwordKey, auth) {
			return nil, refuse(codeUnwilling, "unwilling to verify old password")
		}
	}
	if password == nil {
		generated = []byte(generate())
		password = generated
	}
	if len(password) == 0 || len(password) > MaxPassword {
		return nil, refuse(codeConstraint, "password length not between 1 and %d", MaxPassword)
	}
	list := []change{{
		op: ReplaceValues, desc: t.catalog.plain[schema.AttrUserPassword], values: [][]byte{password}, plain: true, proved: old != nil,
	}}
	if err := t.prove(ctx, j, d, list); err != nil {
		return nil, err
	}
	if err := t.change(ctx, j, list, func() ([]edit, error) { return t.planModify(j, d, list) }); err != nil {
		return nil, err
	}
	return generated, nil
}

// generate makes up a password of 80 bits, without letters that look like others.
func generate() string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789" // 32, five bits each
	b := make([]byte, 16)
	rand.Read(b) // never fails
	for i := range b {
		b[i] = letters[b[i]%32]
	}
	return string(b)
}

// peerSuffix ends the names of subjects that a unix socket vouches for.
const peerSuffix = ",cn=peercred,cn=external,cn=auth"

// A Local is an account of this machine, by user and group, whose programs are an entry of the directory.
type Local struct {
	UID, GID int
	DN       string
}

// Peer returns the subject of a local user whose ids the kernel told (SASL EXTERNAL on a unix socket). Root and the
// service's own users are administrators, those of Options.Locals are their entries while these are active; others have a
// name and no rights.
func (t *Tree) Peer(uid, gid int) Subject {
	s := Subject{DN: fmt.Sprintf("gidNumber=%d+uidNumber=%d%s", gid, uid, peerSuffix), Admin: uid == 0 || slices.Contains(t.opts.ServiceUIDs, uid)}
	if s.Admin {
		return s
	}
	for _, l := range t.opts.Locals {
		if l.UID != uid || l.GID != gid {
			continue
		}
		if as, err := t.Certified(l.DN); err == nil {
			return as
		}
	}
	return s
}

// WhoAmI returns the authorization identity (RFC 4532): "dn:" and the name, or nothing for the anonymous.
func (t *Tree) WhoAmI(who Subject) string {
	if who.DN == "" {
		return ""
	}
	return "dn:" + who.DN
}
