package iotdaclient_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"retryd/internal/emulator"
	"retryd/internal/iotda"
	"retryd/internal/iotdaclient"
)

// TestWhereNoConnectionIsMadeNothingHappenedAndAPersonIsToldWhy is for retry calls and reads: the
// former are released, and both say what to look at.
func TestWhereNoConnectionIsMadeNothingHappenedAndAPersonIsToldWhy(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		setup func(*testing.T, *iotdaclient.Options) // the endpoint and how it is reached
		cause string
		says  string
	}{
		"untrusted certificate": {serving(now.Add(time.Hour), "127.0.0.1", false), "certificate signed by unknown authority", "set ca_file"},
		"another host's":        {serving(now.Add(time.Hour), "192.0.2.7", true), "certificate is valid for 192.0.2.7", "check endpoint of this connection"},
		"ended certificate":     {serving(now.Add(-time.Hour), "127.0.0.1", true), "certificate has expired", "check this machine's clock"},
		"no such host":          {named(3), "no such host", "check endpoint of this connection, and this machine's DNS"},
		"DNS that fails":        {named(2), "server misbehaving", "DNS does not answer"},
		"nobody listens":        {listening(nil), "connection refused", "nothing listens there"},
		"reset in the handshake": {listening(func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 1))
			_ = c.SetLinger(0) // RST
		}), "connection reset", "no firewall"},
		"closed in the handshake": {listening(func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 4096)) }), "EOF", "no firewall"},
		"plain HTTP where TLS is spoken": {listening(func(c *net.TCPConn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}), "server gave HTTP response to HTTPS client", "check the port in endpoint"},
		"silence in the handshake": {listening(func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 4096)); _, _ = c.Read(make([]byte, 1)) }), "no answer in time", "no connection was made in time"},
	} {
		t.Run(name, func(t *testing.T) {
			var seen []iotdaclient.Exchange
			client := client(t, http.NotFoundHandler(), func(o *iotdaclient.Options) {
				o.Timeout, o.Observe = 300*time.Millisecond, func(x iotdaclient.Exchange) { seen = append(seen, x) }
				c.setup(t, o)
			})
			_, e := client.RetryTask(t.Context(), "ab", []string{"d"}, nil)
			require.NotNil(t, e)
			require.True(t, e.NoEffect(), "it is released: %v", e)
			require.Equal(t, iotda.ClassTransient, e.Class)
			require.ErrorContains(t, e, c.cause)
			require.ErrorContains(t, e, c.says)
			require.ErrorContains(t, e, `connection "prod": RetryBatchTask`)
			require.NotContains(t, e.Error(), "secret")
			require.Len(t, seen, 1, "it is tried once")
			require.Equal(t, "error", seen[0].Code)

			seen = nil
			_, err := client.EachTask(t.Context(), iotda.FirmwareUpgrade, "", func(iotda.Task) error { return nil })
			require.ErrorContains(t, err, c.cause)
			require.ErrorContains(t, err, c.says)
			require.NotEmpty(t, seen)
		})
	}
}

// serving is a TLS server with a certificate until some time for some address.
func serving(until time.Time, address string, trusted bool) func(*testing.T, *iotdaclient.Options) {
	return func(t *testing.T, o *iotdaclient.Options) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: until.Add(-24 * time.Hour), NotAfter: until, IPAddresses: []net.IP{net.ParseIP(address)},
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		require.NoError(t, err)
		server := httptest.NewUnstartedServer(platform(emulator.Options{}))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of clients that hang up
		server.StartTLS()
		t.Cleanup(server.Close)
		o.Endpoint = server.URL
		if trusted {
			o.CAFile = filepath.Join(t.TempDir(), "ca.pem")
			require.NoError(t, os.WriteFile(o.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600))
		}
	}
}

// listening is a listener whose connections end after some reaction; nil = there is none.
func listening(react func(*net.TCPConn)) func(*testing.T, *iotdaclient.Options) {
	return func(t *testing.T, o *iotdaclient.Options) {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		o.Endpoint = "https://" + l.Addr().String()
		if react == nil {
			require.NoError(t, l.Close())
			return
		}
		done := make(chan struct{})
		t.Cleanup(func() { l.Close(); <-done })
		go func() {
			defer close(done)
			for {
				c, err := l.AcceptTCP()
				if err != nil {
					return
				}
				react(c)
				c.Close()
			}
		}()
	}
}

// named is a host whose name a DNS server answers for with an error [RFC 1035 section 4.1.1].
func named(rcode byte) func(*testing.T, *iotdaclient.Options) {
	return func(t *testing.T, o *iotdaclient.Options) {
		server, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		done := make(chan struct{})
		t.Cleanup(func() { server.Close(); <-done })
		go func() {
			defer close(done)
			for buffer := make([]byte, 1500); ; {
				n, from, err := server.ReadFromUDP(buffer)
				if err != nil {
					return
				}
				buffer[2], buffer[3] = 0x81, 0x80|rcode
				_, _ = server.WriteToUDP(buffer[:n], from)
			}
		}()
		resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
		}}
		o.Endpoint = "https://iotda.example"
		o.Transport = &http.Transport{DialContext: (&net.Dialer{Resolver: resolver}).DialContext}
	}
}
