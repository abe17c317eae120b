//go:build lab

package login

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const groups = `groups:
- {group: dba, role: admin}
- {group: shop-team, role: operator, servers: ["shop-*"]}
`

// world is an identity provider, a control plane and the folder of all that they write.
type world struct {
	t        *testing.T
	dir      string
	issuer   string
	address  string
	pin      string
	provider *process
	plane    *process
}

// newWorld has the control plane's settings of its client at the provider.
func newWorld(t *testing.T, client ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), address: free(t)}
	build(t, "-C", "deploy/login/provider", "-o", w.path("provider"))
	build(t, "-trimpath", "-tags", "grpcnotrace", "-o", w.path("understudy"),
		"./controlplane/cmd/understudy")
	web := free(t)
	w.issuer = "http://" + web
	w.write("groups.yaml", groups)
	w.provider = start(t, w.path("provider"), web[strings.LastIndex(web, ":")+1:])
	await(t, "the provider answers", func() bool {
		answer, err := http.Get(w.issuer + "/.well-known/openid-configuration")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	w.write("secret", secret+"\n")
	w.plane = start(t, w.path("understudy"), append([]string{"serve", "--provider", "manual",
		"--state-dir", w.path("state"), "--listen", w.address, "--advertise", w.address,
		"--metrics", "off", "--oidc-issuer", w.issuer, "--oidc-groups-file",
		w.path("groups.yaml")}, w.settings(client)...)...)
	await(t, "the control plane answers", func() bool {
		out, err := w.admin("ca", "status")
		w.pin = regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(out)
		return err == nil
	})
	return w
}

// secret is that of the clients that have one.
const secret = "the client's+secret"

// settings are those of the client: one without a secret when none is named, else its id and how it
// shows the secret.
func (w *world) settings(client []string) []string {
	if len(client) == 0 {
		return []string{"--oidc-client-id", "understudy"}
	}
	return []string{"--oidc-client-id", client[0], "--oidc-client-secret-file", w.path("secret"),
		"--oidc-client-auth", client[1]}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// build builds a program of the tree, or of a tool.
func build(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build"}, args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}

func free(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// process is a program that runs until the test ends.
type process struct {
	cmd  *exec.Cmd
	said *bytes.Buffer // once it has ended
	once sync.Once
}

func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = []string{"PATH=" + os.Getenv("PATH"), "HOME=/"}, &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, said: &said}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(program), &said)
		}
	})
	return p
}

func (p *process) stop() {
	p.once.Do(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.cmd.Wait()
	})
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.After(2 * time.Minute)
	for !holds() {
		select {
		case <-end:
			t.Fatalf("it does not come to pass that %s", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// command is one of the command line, on the laptop of somebody.
func (w *world) command(who string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.t.Context(), w.path("understudy"), args...)
	cmd.Env = []string{"HOME=" + w.path("home-"+who), "LANG=C.UTF-8"}
	return cmd
}

// runs is what a command of somebody says.
func (w *world) runs(who string, args ...string) (string, error) {
	out, err := w.command(who, args...).CombinedOutput()
	return string(out), err
}

// admin runs a command with the credentials of the first admin.
func (w *world) admin(args ...string) (string, error) {
	return w.runs("admin", append(args, "--address", w.address, "--credentials",
		w.path("state/operator"))...)
}

var addressed = regexp.MustCompile(`or open (http\S+)`)

// logsIn runs login, and confirms the code in a browser as the person.
func (w *world) logsIn(who string, args ...string) (string, error) {
	w.t.Helper()
	cmd := w.command(who, append([]string{"login", "prod", "--address", w.address, "--ca-pin",
		w.pin}, args...)...)
	said := &screen{found: make(chan string, 1)}
	cmd.Stdout, cmd.Stderr = said, said // one writer: exec writes from one goroutine
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case address := <-said.found:
		if err := w.confirm(address, who); err != nil {
			w.t.Errorf("the code is not confirmed: %v", err)
		}
		err := <-ended
		return said.String(), err
	case err := <-ended:
		return said.String(), err
	}
}

// screen is what a command prints; the address for the browser is found in it.
type screen struct {
	text  bytes.Buffer
	found chan string
}

func (s *screen) String() string { return s.text.String() }

func (s *screen) Write(text []byte) (int, error) {
	n, err := s.text.Write(text)
	if address := addressed.FindStringSubmatch(s.String()); address != nil {
		select {
		case s.found <- address[1]:
		default:
		}
	}
	return n, err
}

var (
	posts = regexp.MustCompile(`<form[^>]*action="([^"]+)"`)
	input = regexp.MustCompile(`<input[^>]*>`)
	named = regexp.MustCompile(`name="([^"]+)"`)
	value = regexp.MustCompile(`value="([^"]*)"`)
	allow = regexp.MustCompile(`location\.href='([^']*action=allowed)'`)
)

// confirm does what a person does in a browser: fills the form, and allows what is asked for.
func (w *world) confirm(address, who string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Timeout: time.Minute}
	page, at, err := read(browser.Get(address))
	if err != nil {
		return err
	}
	action := posts.FindStringSubmatch(page)
	if action == nil {
		return fmt.Errorf("no form is at %s:\n%s", at, page)
	}
	form := url.Values{}
	for _, field := range input.FindAllString(page, -1) {
		name, given := named.FindStringSubmatch(field), value.FindStringSubmatch(field)
		if given != nil {
			form.Set(name[1], html.UnescapeString(given[1]))
		}
	}
	form.Set("username", who)
	form.Set("password", "of "+who)
	to := at.ResolveReference(&url.URL{Path: action[1]})
	page, at, err = read(browser.PostForm(to.String(), form))
	if err != nil {
		return err
	}
	allowed := allow.FindStringSubmatch(page)
	if allowed == nil {
		return fmt.Errorf("nothing is to be allowed at %s:\n%s", at, page)
	}
	if to, err = at.Parse(html.UnescapeString(allowed[1])); err != nil {
		return err
	}
	page, at, err = read(browser.Get(to.String()))
	if err == nil && !strings.Contains(page, "Device authorization allowed") {
		err = fmt.Errorf("the last page, at %s, is\n%s", at, page)
	}
	return err
}

func read(answer *http.Response, err error) (page string, at *url.URL, _ error) {
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return string(data), answer.Request.URL, err
}
