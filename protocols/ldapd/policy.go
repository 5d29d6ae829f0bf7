package ldapd

import (
	"errors"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
)

// notice is the control that answers a simple bind: what the policy says, or that it says nothing. It comes for every name,
// whether there is an entry or not.
func (e *extensions) notice(n dit.Notice, req *ldapwire.BindRequest) []ldapwire.Control {
	if !e.policy || req.Mechanism != "" || req.Name == "" {
		return nil
	}
	return []ldapwire.Control{{OID: passwordPolicy, Value: ldapwire.EncodeNotice(n)}}
}

// objection is the control that answers another operation, when the policy is why it was refused.
func (e *extensions) objection(err error) []ldapwire.Control {
	var refused *dit.Error
	if !e.policy || !errors.As(err, &refused) || refused.Policy == dit.NoPolicyError {
		return nil
	}
	return []ldapwire.Control{{OID: passwordPolicy, Value: ldapwire.EncodeNotice(dit.Notice{Error: refused.Policy})}}
}
