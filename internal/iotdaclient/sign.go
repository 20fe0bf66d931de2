package iotdaclient

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
)

// derivedService is the name of IoTDA in a derived signature's scope [sdk ioTDA_client.go].
const derivedService = "iotdm"

// IsDerived is how the official SDK chooses for SigningAuto.
var isDerived = auth.GetDefaultDerivedPredicate()

// call is one request to be made.
type call struct {
	op, method, path string
	query            map[string]string
	body             string
	gate             Gate // nil = none

	cred    Credential
	timeout time.Duration // of the round trip
}

// request builds the signed request. The SDK's core signs its own request type, so the
// request is made as that and converted; nothing may be changed after signing.
func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	b := request.NewHttpRequestBuilder().WithEndpoint(c.o.Endpoint).WithMethod(k.method).WithPath(k.path)
	for name, value := range k.query {
		b.AddQueryParam(name, reflect.ValueOf(value)) // anything but a reflect.Value is dropped silently
	}
	b.AddHeaderParam("User-Agent", c.o.UserAgent)
	b.AddHeaderParam("X-Project-Id", c.o.ProjectID)
	if k.body != "" {
		b.AddHeaderParam("Content-Type", "application/json").WithBody("", k.body)
	}
	if c.o.InstanceID != "" {
		b.AddHeaderParam("Instance-Id", c.o.InstanceID)
	}
	req := b.Build()
	if err := c.sign(req, k.cred); err != nil {
		return nil, err
	}
	httpReq, err := req.ConvertRequest()
	if err != nil {
		return nil, fmt.Errorf("build the request: %w", err)
	}
	if k.body == "" {
		httpReq.Body, httpReq.ContentLength = http.NoBody, 0
	}
	// Without it net/http cannot send the body a second time by itself.
	httpReq.GetBody = nil
	return httpReq.WithContext(ctx), nil
}

// signing gives the form in which a call with these credentials is signed; empty where it carries a
// token.
func (c *Client) signing(cred Credential) Signing {
	switch {
	case cred.AccessKey == "":
		return ""
	case cred.Signing == SigningDerived, cred.Signing != SigningBasic && c.wants == SigningDerived:
		return SigningDerived
	}
	return SigningBasic
}

// wanted gives the form that an endpoint wants, as the official SDK chooses by its host.
func wanted(endpoint string) Signing {
	if isDerived(request.NewHttpRequestBuilder().WithEndpoint(endpoint).Build()) {
		return SigningDerived
	}
	return SigningBasic
}

func (c *Client) sign(req *request.DefaultHttpRequest, cred Credential) error {
	if cred.AccessKey == "" {
		req.AddHeaderParam("X-Auth-Token", cred.Token)
		return nil
	}
	if cred.SecurityToken != "" {
		req.AddHeaderParam("X-Security-Token", cred.SecurityToken)
	}
	var headers map[string]string
	var err error
	if c.signing(cred) == SigningDerived {
		headers, err = signer.SignDerived(req, cred.AccessKey, cred.SecretKey, derivedService, c.o.Region)
	} else {
		headers, err = signer.Sign(req, cred.AccessKey, cred.SecretKey)
	}
	if err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	for name, value := range headers {
		req.AddHeaderParam(name, value)
	}
	return nil
}
