package iotdaclient

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
)

// networkRemedy says what a person can do where no connection could be made. what names the
// setting that the address is from.
func networkRemedy(err error, what string) string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var name *net.DNSError
	switch {
	case errors.As(err, &authority):
		return "the certificate is signed by nobody whom this machine trusts: check " + what + ", or set ca_file to the authority of your network's proxy"
	case errors.As(err, &host):
		return "the certificate is another host's: check " + what
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate does not hold today: check this machine's clock, else its owner has to renew it"
	case errors.As(err, &name) && name.IsNotFound:
		return "there is no such host: check " + what + ", and this machine's DNS"
	case errors.As(err, &name):
		return "this machine's DNS does not answer: check it, and the network"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check " + what + ", and HTTPS_PROXY if it is set"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF):
		return "the connection was closed while it was made: check " + what + ", and that no firewall is in between"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "TLS is not spoken there: check the port in " + what
	case errors.Is(err, context.DeadlineExceeded):
		return "no connection was made in time: check " + what + ", and that no firewall is in between"
	}
	return ""
}
