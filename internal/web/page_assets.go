package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

//go:embed assets templates
var embedded embed.FS

// assets are the files that a page refers to. A name has the hash of what is in it, so a browser
// keeps a file for ever, and asks for another one where another version of retryd answers.
type assets struct {
	named map[string]asset  // by the name with the hash
	names map[string]string // the name with the hash, by the one without
}

type asset struct {
	content   []byte
	mediaType string
}

func newAssets() assets {
	a := assets{map[string]asset{}, map[string]string{}}
	for name, mediaType := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		content, err := embedded.ReadFile("assets/" + name)
		if err != nil {
			panic(err) // it is part of the program
		}
		sum := sha256.Sum256(content)
		stem, kind, _ := strings.Cut(name, ".")
		hashed := stem + "." + hex.EncodeToString(sum[:8]) + "." + kind
		a.named[hashed], a.names[name] = asset{content, mediaType}, hashed
	}
	return a
}

// path gives where a file is.
func (a assets) path(name string) string { return "/assets/" + a.names[name] }

func (a assets) serve(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	file, ok := a.named[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	secure(w.Header())
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Content-Type", file.mediaType)
	w.Header().Set("Etag", `"`+name+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file.content))
}

// parsePages reads the templates: each page is a file that fills in the common ones.
func parsePages(a assets) map[string]*template.Template {
	common := template.Must(template.New("").Funcs(words(a)).Funcs(acts()).ParseFS(embedded, "templates/common/*.html"))
	files, err := fs.Glob(embedded, "templates/*.html")
	if err != nil {
		panic(err) // of a malformed pattern
	}
	parsed := map[string]*template.Template{}
	for _, file := range files {
		parsed[strings.TrimSuffix(strings.TrimPrefix(file, "templates/"), ".html")] = template.Must(template.Must(common.Clone()).ParseFS(embedded, file))
	}
	return parsed
}
