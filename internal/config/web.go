package config

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
)

// Web is what the file that server.web_config names asks of who connects.
type Web struct {
	Path        string   // of the file; empty = there is none
	TLS         bool     // https instead of http
	Certificate []byte   // PEM of what the daemon shows, as it was when the file was read
	Users       []string // who has a password; none = nobody is asked for one
	ClientCerts bool     // nobody comes in without a certificate of client_ca_file
	SANs        []string // names, one of which such a certificate must have; none = any name will do
	Admins      []string // users, and names in certificates, that may act; the others may look

	fixed    string // what the toolkit reads at the start only; empty = the file has problems
	verifies bool   // certificates of clients are looked at, of those who show one
}

// Authenticates tells whether nobody gets in without showing who they are.
func (w Web) Authenticates() bool { return len(w.Users) > 0 || w.ClientCerts }

// Visitors is whom a web configuration lets in.
type Visitors struct {
	Users map[string]Secret // bcrypt hashes of their passwords
	SANs  []string          // as in Web
}

// Visitors reads the file as it is now.
func (w Web) Visitors() (Visitors, error) {
	data, err := os.ReadFile(w.Path)
	if err != nil {
		return Visitors{}, err
	}
	var doc yaml.Node
	var file web.Config
	if yaml.Unmarshal(data, &doc) != nil || doc.Decode(&file) != nil { // the library's errors can quote the file
		return Visitors{}, fmt.Errorf("%s cannot be understood", w.Path)
	}
	v := Visitors{Users: map[string]Secret{}, SANs: file.TLSConfig.ClientAllowedSans}
	for name, hash := range file.Users {
		v.Users[name] = Secret(hash)
	}
	return v, nil
}

// web reads and checks the web configuration: by the rules of the toolkit that serves with it,
// and by a few of ours.
func (d *decoder) web(r rawServer) (w Web) {
	place := r.of("web_config")
	if r.WebConfig == "" || d.told[place] {
		return Web{}
	}
	data, ok := d.read(place, "web_config", r.WebConfig)
	if !ok {
		return Web{}
	}
	w.Path = d.path(place, r.WebConfig)
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		d.syntax(w.Path, err, data)
		return w
	}
	d.own(&doc, w.Path)
	if !d.webUsers(&doc) {
		return w
	}
	file := web.Config{HTTPConfig: web.HTTPConfig{HTTP2: true}} // the toolkit's default
	err := web.Validate(w.Path)
	if err == nil {
		err = doc.Decode(&file)
	}
	if err != nil && doc.Kind != 0 {
		d.webProblems(&doc, err)
		return w
	}
	file.TLSConfig.SetDirectory(filepath.Dir(w.Path))
	w.TLS = file.TLSConfig.IsEnabled()
	for name := range file.Users {
		w.Users = append(w.Users, name)
	}
	slices.Sort(w.Users)
	w.Certificate = either(file.TLSConfig.TLSCertPath, file.TLSConfig.TLSCert)
	w.ClientCerts = file.TLSConfig.ClientAuth == "RequireAndVerifyClientCert"
	w.verifies = w.ClientCerts || file.TLSConfig.ClientAuth == "VerifyClientCertIfGiven"
	w.SANs = file.TLSConfig.ClientAllowedSans
	w.fixed = fmt.Sprint(w.TLS, file.HTTPConfig.HTTP2, file.RateLimiterConfig)
	d.webAuthorities(&doc, file.TLSConfig)
	if !w.TLS && len(w.Users) == 0 {
		d.problem(place, "web_config asks for neither TLS nor passwords: it needs tls_server_config, basic_auth_users, or both")
	}
	return w
}

// webUsers looks at each user's hash. The toolkit would not say whose is wrong, and would quote
// a password that stands where the users should.
func (d *decoder) webUsers(doc *yaml.Node) bool {
	before := len(d.problems)
	users := inside(doc, "basic_auth_users")
	if users == nil || isNull(users) {
		return true
	}
	if users.Kind != yaml.MappingNode {
		d.problem(users, "basic_auth_users must be a mapping of users to bcrypt hashes, not %s", kind(users))
		return false
	}
	for i := 0; i+1 < len(users.Content); i += 2 {
		name, hash := users.Content[i], users.Content[i+1]
		if _, err := bcrypt.Cost([]byte(hash.Value)); hash.Kind != yaml.ScalarNode || err != nil {
			d.problem(hash, "the password of %q must be a bcrypt hash: `htpasswd -nBC 10 %s` makes one", clip(name.Value), clip(name.Value))
		}
	}
	return len(d.problems) == before
}

// webAuthorities looks at who signs the certificates of clients: the toolkit takes it as it comes.
func (d *decoder) webAuthorities(doc *yaml.Node, c web.TLSConfig) {
	if c.ClientAuth != "RequireAndVerifyClientCert" && c.ClientAuth != "VerifyClientCertIfGiven" {
		return
	}
	section := inside(doc, "tls_server_config")
	if c.ClientCAs == "" && c.ClientCAsText == "" {
		d.problem(inside(section, "client_auth_type"), "client_ca_file is missing: without it a certificate of any authority that this machine trusts opens the door")
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(either(c.ClientCAs, c.ClientCAsText)) {
		d.problem(inside(section, "client_ca_file", "client_ca"), "there is no certificate in client_ca_file: nobody could come in")
	}
}

// either gives what is in a file that the toolkit has read a moment ago, or the text that stands
// for one.
func either(file, text string) []byte {
	if file == "" {
		return []byte(text)
	}
	data, _ := os.ReadFile(file)
	return data
}
