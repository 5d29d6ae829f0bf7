package dit

import (
	"slices"
	"strconv"
	"time"

	"github.com/dirpost/dirpost/schema"
	"github.com/dirpost/dirpost/schema/slapd"
)

// The password policy is that of draft-behera-ldap-password-policy as slapd's overlay has it. Its rules are in entries of
// class pwdPolicy: the one that pwdPolicySubentry names, or the default of the naming context. The state of an account is
// in operational attributes of its entry, so it is as durable as the entry.

// A PolicyError is what the password policy has against a password or an account; zero is nothing. The others are one more
// than their number in the response control.
type PolicyError int

// What can be wrong.
const (
	NoPolicyError PolicyError = iota
	PasswordExpired
	AccountLocked
	ChangeAfterReset // the password must be changed before anything else is done
	PasswordModNotAllowed
	MustSupplyOldPassword
	InsufficientQuality
	PasswordTooShort
	PasswordTooYoung
	PasswordInHistory
)

// A Notice is what the password policy says beside the result of a bind.
type Notice struct {
	Error   PolicyError
	Expires time.Duration // until the password does; 0 = no warning
	Expired bool          // it has, and Grace more logins are allowed
	Grace   int
}

// forbid makes the error of a refusal by the policy.
func forbid(code int, why PolicyError, text string) *Error {
	return &Error{Code: code, Text: text, Policy: why}
}

// A policy is the content of one entry of class pwdPolicy. The zero policy refuses nothing.
type policy struct {
	minAge, maxAge, expireWarning    time.Duration
	lockoutDuration, failureInterval time.Duration // 0 = for ever
	inHistory, quality, minLength    int
	grace, maxFailure                int
	lockout, mustChange, safeModify  bool
	ownChange                        bool // people may change their own passwords
}

// policyOf reads the policy that holds for an entry. A name under which there is none means no policy.
func (t *Tree) policyOf(v *view) (policy, error) {
	none := policy{ownChange: true}
	name := within(slapd.DefaultPolicy, v.base)
	if a := v.find(t.catalog.plain[schema.AttrPwdPolicySubentry]); a != nil {
		name = string(a.values[0])
	}
	d, err := t.catalog.parseDN(name)
	if err != nil {
		return none, nil
	}
	id, _ := t.find(d)
	e, err := t.view(id)
	if err != nil || e == nil || !e.says(schema.AttrObjectClass, schema.ClassPwdPolicy) {
		return none, err
	}
	seconds := func(attr string) time.Duration { return time.Duration(e.number(attr)) * time.Second }
	return policy{
		minAge: seconds(schema.AttrPwdMinAge), maxAge: seconds(schema.AttrPwdMaxAge),
		expireWarning:   seconds(schema.AttrPwdExpireWarning),
		lockoutDuration: seconds(schema.AttrPwdLockoutDuration), failureInterval: seconds(schema.AttrPwdFailureCountInterval),
		inHistory: e.number(schema.AttrPwdInHistory), quality: e.number(schema.AttrPwdCheckQuality),
		minLength: e.number(schema.AttrPwdMinLength), grace: e.number(schema.AttrPwdGraceAuthNLimit),
		maxFailure: e.number(schema.AttrPwdMaxFailure),
		lockout:    e.says(schema.AttrPwdLockout, "TRUE"), mustChange: e.says(schema.AttrPwdMustChange, "TRUE"),
		safeModify: e.says(schema.AttrPwdSafeModify, "TRUE"), ownChange: !e.says(schema.AttrPwdAllowUserChange, "FALSE"),
	}, nil
}

// maxNumber bounds the numbers of a policy: seconds of thirty years, and counts that no entry reaches.
const maxNumber = 1 << 30

// number is the value of an integer attribute, 0 = none.
func (v *view) number(attr string) int {
	a := v.find(v.tree.catalog.plain[attr])
	if a == nil {
		return 0
	}
	n, err := strconv.Atoi(string(a.values[0]))
	if err != nil || n > maxNumber {
		return maxNumber
	}
	return max(n, 0)
}

// times are the values of an attribute that can be read as times, in stored order.
func (v *view) times(attr string) []time.Time {
	a := v.find(v.tree.catalog.plain[attr])
	if a == nil {
		return nil
	}
	var out []time.Time
	for _, value := range a.values {
		if when, ok := parseTime(string(value)); ok {
			out = append(out, when)
		}
	}
	return out
}

// parseTime reads the times that we and slapd write, which have fractions of a second or none.
func parseTime(s string) (time.Time, bool) {
	when, err := time.Parse(timeLayout, s) // takes fractions too
	return when, err == nil
}

// locked reports whether nobody gets in, whatever password he has. A time that cannot be read, as 000001010000Z, locks
// until somebody takes it away; one in the future not yet.
func (p policy) locked(v *view, now time.Time) bool {
	a := v.find(v.tree.catalog.plain[schema.AttrPwdAccountLockedTime])
	if !p.lockout || a == nil {
		return false
	}
	since, ok := parseTime(string(a.values[0]))
	return !ok || !now.Before(since) && (p.lockoutDuration == 0 || now.Before(since.Add(p.lockoutDuration)))
}

// noteFailure counts a wrong password, and locks the account when it was one too many. While it is locked nothing is
// counted, and no more times are kept than lock, so whoever guesses makes us write that often in the time of a lockout and
// not more.
func (t *Tree) noteFailure(id uint32) error {
	return t.update(func() ([]edit, error) { // without a stamp: nobody has changed the entry
		v, err := t.view(id)
		if err != nil || v == nil {
			return nil, err
		}
		p, err := t.policyOf(v)
		now := t.opts.Now().UTC()
		if err != nil || !p.lockout || p.maxFailure == 0 || p.locked(v, now) {
			return nil, err
		}
		failures := slices.DeleteFunc(v.times(schema.AttrPwdFailureTime), func(when time.Time) bool {
			return p.failureInterval > 0 && now.After(when.Add(p.failureInterval))
		})
		for slices.ContainsFunc(failures, now.Equal) {
			now = now.Add(time.Microsecond)
		}
		failures = append(failures, now.Truncate(time.Microsecond))
		failures = failures[max(0, len(failures)-p.maxFailure):]
		after := v.record.clone()
		texts := make([][]byte, len(failures))
		for i, when := range failures {
			texts[i] = []byte(when.Format(csnTime))
		}
		t.setAll(after, schema.AttrPwdFailureTime, texts)
		locked := ""
		if len(failures) >= p.maxFailure {
			locked = now.Format(timeLayout)
		}
		t.set(after, schema.AttrPwdAccountLockedTime, locked)
		return []edit{{v.record, after}}, nil
	})
}

// admit judges the account of somebody whose password was right, as it is by now, and notes that he came.
func (t *Tree) admit(id uint32) (Subject, Notice, error) {
	v, err := t.view(id)
	if err != nil {
		return Subject{}, Notice{}, err
	}
	if v == nil {
		return Subject{}, Notice{}, refuse(codeCredentials, "invalid credentials")
	}
	after, who, notice, err := t.login(v)
	if err != nil || after == nil {
		return who, notice, err
	}
	err = t.update(func() ([]edit, error) {
		if v, err = t.view(id); err != nil || v == nil {
			return nil, err
		}
		after, who, notice, err = t.login(v)
		if err != nil || after == nil {
			return nil, err
		}
		return []edit{{v.record, after}}, nil
	})
	if err != nil {
		who = Subject{}
	}
	return who, notice, err
}

// login is what the policy makes of a right password: the entry afterwards, nil = as it was.
func (t *Tree) login(v *view) (after *record, who Subject, notice Notice, err error) {
	p, err := t.policyOf(v)
	now := t.opts.Now().UTC()
	switch {
	case err != nil:
		return nil, who, notice, err
	case p.locked(v, now):
		return nil, who, notice, refuse(codeCredentials, "invalid credentials")
	}
	change := func() *record {
		if after == nil {
			after = v.record.clone()
		}
		return after
	}
	if v.hasType(t.catalog.typ(schema.AttrPwdFailureTime)) {
		t.set(change(), schema.AttrPwdFailureTime, "")
	}
	if since := v.times(schema.AttrPwdAccountLockedTime); p.lockout && len(since) > 0 && !now.Before(since[0]) {
		t.set(change(), schema.AttrPwdAccountLockedTime, "")
	}
	who = Subject{DN: v.text}
	if p.mustChange && v.says(schema.AttrPwdReset, "TRUE") {
		who.MustChange = true
		return after, who, Notice{Error: ChangeAfterReset}, nil
	}
	changed := v.times(schema.AttrPwdChangedTime)
	if p.maxAge == 0 || len(changed) == 0 {
		return after, who, notice, nil
	}
	left := changed[0].Add(p.maxAge).Sub(now)
	switch {
	case left >= 0 && left < p.expireWarning:
		notice.Expires = max(left, time.Second)
	case left < 0:
		used := v.times(schema.AttrPwdGraceUseTime)
		if len(used) >= p.grace {
			return nil, Subject{}, Notice{Error: PasswordExpired}, forbid(codeCredentials, PasswordExpired, "invalid credentials")
		}
		notice.Expired, notice.Grace = true, p.grace-len(used)-1
		for slices.ContainsFunc(used, now.Equal) {
			now = now.Add(time.Microsecond)
		}
		t.addValue(change(), schema.AttrPwdGraceUseTime, []byte(now.Format(csnTime)))
	}
	return after, who, notice, nil
}
