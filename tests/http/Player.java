// A player on Java's HttpClient, which offers HTTP/2 with each request: prints the first bytes of a stream.
//
//   java Player.java URL COUNT
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

public class Player {
    public static void main(String[] args) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(args[0])).build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofInputStream());
        System.out.write(answer.body().readNBytes(Integer.parseInt(args[1])));
        System.out.flush();
        System.exit(0);
    }
}
