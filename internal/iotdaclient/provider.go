package iotdaclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/impl"
)

const (
	// temporaryEarly is when the SDK itself asks for other temporary keys [sdk
	// core/auth/base_credentials.go defaultExpirationThresholdSeconds].
	temporaryEarly = 40 * time.Minute
	// federatedLife is what the SDK asks IAM for, and then hides [sdk
	// core/auth/internal/federal_accessor.go defaultDurationSeconds].
	federatedLife = 6 * time.Hour
	// profileAgain is how soon a changed profile is used.
	profileAgain = time.Minute
	// federatedTimeout is of each of the two calls to IAM behind an identity provider's token.
	federatedTimeout = 10 * time.Second
)

// Provider is a Source that finds keys where the official SDK does: in the environment, in a
// profile file, at the machine's metadata service. Temporary ones are renewed before they end.
//
// The SDK would renew inside the signing of a request: without a lock, without a context, and
// with an error although the old keys still hold. So only its providers are used, and the
// renewing is done here.
type Provider struct {
	name    sourceName
	signing Signing
	kept    kept

	// What follows belongs to whoever has the turn of kept.
	found   *place                 // where the first keys came from: a chain stays with it
	machine *auth.BasicCredentials // asks the metadata service or the pod's agent
	running chan finding           // a search that its caller left
}

type finding struct {
	cred Credential
	err  error
}

// NewProvider makes a source of what the SDK's provider of that name finds: env, profile,
// metadata, or chain, which looks at these in turn and then for a pod's identity.
func NewProvider(name string, signing Signing) (*Provider, error) {
	if _, ok := places[sourceName(name)]; !ok {
		return nil, fmt.Errorf("auth.provider: there is no provider %q: there are env, profile, metadata and chain", name)
	}
	p := &Provider{name: sourceName(name), signing: signing}
	// Whoever waits for an early renewal has keys in hand: two seconds, and it is left running.
	p.kept = kept{ask: p.ask, due: p.due, patience: 2 * time.Second, turn: make(chan struct{}, 1)}
	return p, nil
}

// Credential gives the keys, found anew where there are none or they end soon.
func (p *Provider) Credential(ctx context.Context) (Credential, error) { return p.kept.credential(ctx) }

// Renew has the keys looked for again. The refused ones stay until others are found: that they
// were refused may have another reason.
func (p *Provider) Renew(refused Credential) bool { return p.kept.hasten(refused) }

// due tells when to look again. A process's environment does not change.
func (p *Provider) due(c Credential, got time.Time) time.Time {
	switch {
	case !c.Expires.IsZero():
		return later(got.Add(askAgain), c.Expires.Add(-temporaryEarly))
	case p.found.name == sourceProfile:
		return got.Add(profileAgain)
	}
	return time.Time{}
}

// ask searches. The SDK's calls take no context, so they are left to run where the caller's
// ends; the next caller gets what they find. They end by themselves: the SDK gives each
// request to the metadata service 3 seconds and to a pod's agent 10.
func (p *Provider) ask(ctx context.Context) (Credential, error) {
	if p.running == nil {
		p.running = make(chan finding, 1)
		go p.search(p.running)
	}
	select {
	case f := <-p.running:
		p.running = nil
		return f.cred, f.err
	case <-ctx.Done():
		return Credential{}, ctx.Err()
	}
}

func (p *Provider) search(out chan<- finding) {
	f := finding{err: errors.New("no credentials found")}
	defer func() {
		if recover() != nil { // the SDK trusts the metadata service's replies
			f = finding{err: errors.New("no credentials found: the answer was not understood")}
		}
		out <- f
	}()
	where := places[p.name].chain
	if p.found != nil {
		where = []*place{p.found}
	}
	for _, at := range where {
		cred, err := p.look(at)
		if err == nil {
			p.found = at
			f = finding{cred: cred}
			return
		}
		f.err = fmt.Errorf("%w; %s: %s", f.err, at.label(), wordsOf(at.name, err))
	}
}

// look asks one place.
func (p *Provider) look(at *place) (Credential, error) {
	found := p.machine
	if found == nil {
		got, err := at.provider.GetCredentials()
		if err != nil {
			return Credential{}, err
		}
		var ok bool
		if found, ok = got.(*auth.BasicCredentials); !ok {
			return Credential{}, errors.New("credentials of another kind")
		}
	}
	c := Credential{Signing: p.signing}
	switch {
	case found.StsAccessor == nil:
	case found.IdpId != "":
		// Fresh ones each time: those that the SDK holds would not say when they end.
		c.Expires = time.Now().Add(federatedLife)
		if err := found.ProcessSts(federatedClient()); err != nil {
			return Credential{}, err
		}
	default:
		// Asked directly, the accessor says when they end, which BasicCredentials keeps to
		// itself. It is kept, for it holds the metadata service's session.
		got, err := found.StsAccessor.GetCredential()
		if err != nil {
			return Credential{}, err
		}
		p.machine = found
		c.AccessKey, c.SecretKey, c.SecurityToken = got.Access, got.Secret, got.SecurityToken
		c.Expires = time.Unix(got.ExpireAt, 0)
		return c, nil
	}
	c.AccessKey, c.SecretKey, c.SecurityToken = found.AK, found.SK, found.SecurityToken
	return c, nil
}

// federatedClient honours the environment's proxies, which the SDK's own does not.
func federatedClient() *impl.DefaultHttpClient {
	return impl.NewDefaultHttpClient(config.DefaultHttpConfig().WithTimeout(federatedTimeout).WithHttpRoundTripper(http.DefaultTransport))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
