package dit

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/dirpost/dirpost/schema"
)

// sets reports whether the change gives a password.
func (c change) sets() bool {
	return c.touchesPassword() && len(c.values) > 0 && (c.op == AddValues || c.op == ReplaceValues)
}

func (c change) touchesPassword() bool { return c.desc.typ.key == passwordKey }

// newPassword returns the change that gives a password, nil for none. The policy allows one value.
func newPassword(list []change) (*change, error) {
	var found *change
	for i := range list {
		if !list[i].sets() {
			continue
		}
		if found != nil || len(list[i].values) > 1 {
			return nil, forbid(codeConstraint, NoPolicyError, "one password, please")
		}
		found = &list[i]
	}
	return found, nil
}

// prove tests a change of passwords by the policy before it is made: comparing with old ones takes time, in which others
// may go on. Who may manage the password for its holder is not bound. Somebody who may not make the change at all is left to
// the plan, which refuses it.
func (t *Tree) prove(ctx context.Context, j *judge, d dn, list []change) error {
	if !slices.ContainsFunc(list, change.touchesPassword) {
		return nil
	}
	v, err := t.entry(j, d)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(c change) bool { return !v.may(j, c.desc.typ.key, c.needs()) }) {
		return nil
	}
	set, err := newPassword(list)
	if err != nil {
		return err
	}
	p, err := t.policyOf(v)
	if err != nil || v.may(j, passwordKey, manage) {
		return err
	}
	if !p.ownChange && j.dn.norm == v.norm {
		return forbid(codeAccess, PasswordModNotAllowed, "the policy lets nobody change his own password")
	}
	if set == nil {
		return nil
	}
	proved, err := t.proveOld(ctx, v, list)
	switch {
	case err != nil:
		return err
	case p.safeModify && !proved && !set.proved:
		return forbid(codeAccess, MustSupplyOldPassword, "the old password must be given with the new one")
	}
	if changed := v.times(schema.AttrPwdChangedTime); p.minAge > 0 && len(changed) > 0 && !v.says(schema.AttrPwdReset, "TRUE") &&
		t.opts.Now().Before(changed[0].Add(p.minAge)) {
		return forbid(codeConstraint, PasswordTooYoung, "the password is too young to be changed")
	}
	if err := p.judge(set); err != nil {
		return err
	}
	return t.proveNew(ctx, p, v, set)
}

// judge tests how good a password is. Of one that comes hashed the length of that counts, as nothing else is known.
func (p policy) judge(set *change) error {
	switch value := set.values[0]; {
	case p.quality == 0:
		return nil
	case len(value) < p.minLength:
		return forbid(codeConstraint, PasswordTooShort, "the password is too short")
	case p.quality == 2 && !set.clear(0):
		return forbid(codeConstraint, InsufficientQuality, "the quality of a hashed password cannot be tested")
	}
	return nil
}

// proveOld looks for an old password among the values to be deleted and puts the stored value in its place, which is the
// one to go.
func (t *Tree) proveOld(ctx context.Context, v *view, list []change) (proved bool, err error) {
	for i := range list {
		c := &list[i]
		if !c.touchesPassword() || c.op != DeleteValues || len(c.values) != 1 {
			continue
		}
		for _, stored := range v.passwords() {
			ok := bytes.Equal(stored, c.values[0])
			if !ok {
				if ok, err = t.verify(ctx, [][]byte{stored}, c.values[0]); err != nil {
					return false, err
				}
			}
			if ok {
				c.values[0] = stored
				proved = true
			}
		}
		if !proved {
			return false, forbid(codeUnwilling, MustSupplyOldPassword, "the old password is another one")
		}
	}
	return proved, nil
}

// proveNew refuses a password that the account has or had.
func (t *Tree) proveNew(ctx context.Context, p policy, v *view, set *change) error {
	if p.inHistory == 0 || !set.clear(0) {
		return nil
	}
	old := slices.Clone(v.passwords())
	past := v.history()
	for _, h := range past[max(0, len(past)-p.inHistory):] {
		old = append(old, h.password)
	}
	used, err := t.verify(ctx, old, set.values[0])
	if err == nil && used {
		return forbid(codeConstraint, PasswordInHistory, "the password has been used before")
	}
	return err
}

// A pastPassword is one value of pwdHistory: time, syntax, length and the stored form, with # between.
type pastPassword struct{ value, password []byte }

// history returns the past passwords, the oldest first.
func (v *view) history() []pastPassword {
	a := v.find(v.tree.catalog.plain[schema.AttrPwdHistory])
	if a == nil {
		return nil
	}
	var out []pastPassword
	for _, value := range a.values {
		if f := bytes.SplitN(value, []byte("#"), 4); len(f) == 4 {
			out = append(out, pastPassword{value, f[3]})
		}
	}
	slices.SortStableFunc(out, func(a, b pastPassword) int { return bytes.Compare(a.value, b.value) })
	return out
}

// stampPassword keeps the state of the account of a record that has been changed by list; v is as it was, nil for one that
// is new. A new password ends lockout and grace, and must be changed when somebody else gave it who may manage it.
func (t *Tree) stampPassword(j *judge, v *view, r *record, list []change) error {
	if !slices.ContainsFunc(list, change.touchesPassword) {
		unlocked := func(c change) bool {
			return c.desc.typ.Name() == schema.AttrPwdAccountLockedTime && c.needs()&add == 0
		}
		if slices.ContainsFunc(list, unlocked) {
			t.set(r, schema.AttrPwdFailureTime, "")
		}
		return nil
	}
	changed := ""
	if r.hasType(t.catalog.typ(schema.AttrUserPassword)) {
		changed = t.opts.Now().UTC().Format(timeLayout)
	}
	t.set(r, schema.AttrPwdChangedTime, changed)
	if v == nil {
		return nil
	}
	p, err := t.policyOf(v)
	if err != nil {
		return err
	}
	for _, attr := range []string{schema.AttrPwdGraceUseTime, schema.AttrPwdAccountLockedTime, schema.AttrPwdFailureTime} {
		t.set(r, attr, "")
	}
	if !slices.ContainsFunc(list, func(c change) bool { return c.desc.typ.Name() == schema.AttrPwdReset && c.needs()&add != 0 }) {
		reset := ""
		if p.mustChange && changed != "" && v.may(j, passwordKey, manage) {
			reset = "TRUE"
		}
		t.set(r, schema.AttrPwdReset, reset)
	}
	t.remember(p, v, r)
	return nil
}

// remember puts the password that the entry had into its history, which keeps as many as the policy says.
func (t *Tree) remember(p policy, v *view, r *record) {
	var values [][]byte
	for _, h := range v.history() {
		values = append(values, h.value)
	}
	if old := v.passwords(); len(old) > 0 {
		head := fmt.Sprintf("%s#%s#%d#", t.opts.Now().UTC().Format(timeLayout), syntaxOctets, len(old[0]))
		value := append([]byte(head), old[0]...)
		values = slices.DeleteFunc(values, func(b []byte) bool { return bytes.Equal(b, value) })
		values = append(values, value)
	}
	t.setAll(r, schema.AttrPwdHistory, values[max(0, len(values)-p.inHistory):])
}
